"""What must hold for a published partition, and what should make a reader wary.

An *error* means that the partition must not be used: a sum, a density or a probability is impossible. A *warning* is a
property of the data or of the skill that everybody who uses the partition should see. Each check reads the store, so
the same findings come from a fresh build and from a partition that was built last year. Nothing is repaired here.

A file for each room: ``cells``, ``labels``, ``features``, ``models``, ``predictions``, and ``files`` for bundles;
``verdict`` is what a check sees and says, ``run`` the table of all and the way through them.
"""

from entropice_core.checks.models import MAX_ECE as MAX_ECE
from entropice_core.checks.run import CHECKS as CHECKS
from entropice_core.checks.run import check_partition as check_partition
from entropice_core.checks.run import checks_of as checks_of
from entropice_core.checks.verdict import Check as Check
from entropice_core.checks.verdict import Finding as Finding
from entropice_core.checks.verdict import Subject as Subject
from entropice_core.checks.verdict import Verdict as Verdict

"""What must hold of bundles of files: maps, tables, reports."""

from entropice_core.checks.verdict import Check, Subject, Verdict


def _files_there(subject: Subject) -> Verdict:
    wanted = {
        "map": ("map.png", "map.svg", "expected_density.png", "cells.parquet", "cells.tif"),
        "proxies": ("proxies.json", "proxies.csv", "proxies.png"),
        "priority": ("priority.parquet", "priority.geojson", "gain.json", "gain.png", "priority.png"),
        "comparison": ("scores.csv", "scores.md", "scores.png", "pairs.csv", "pairs.png"),
        "map_agreement": ("agreement.csv", "points.parquet", "agreement.png"),
        "report": ("report.md", "report.html"),
        "label_agreement": ("agreement.csv", "agreement.md", "agreement.png"),
        "label_sensitivity": ("sensitivity.csv", "sensitivity.md"),
        "independent": ("independent.csv", "independent.md"),
    }
    sizes = {file.name: file.size for file in subject.manifest.files}
    missing = [name for name in wanted[subject.product.kind] if not sizes.get(name)]
    sentence = f"Missing or empty: {', '.join(missing)}." if missing else "All files are there."
    return Verdict(not missing, sentence, {"files": len(sizes)})


CHECKS: dict[str, tuple[Check, ...]] = {
    "label_sensitivity": (Check("files_are_there", "The table is written.", "error", _files_there),),
    "label_agreement": (Check("files_are_there", "Table and figure are written.", "error", _files_there),),
    "independent": (Check("files_are_there", "The table is written.", "error", _files_there),),
    "map": (Check("files_are_there", "PNG, SVG, GeoParquet and GeoTIFF are written.", "error", _files_there),),
    "proxies": (Check("files_are_there", "Tables and figure are written.", "error", _files_there),),
    "priority": (Check("files_are_there", "Tables and figures are written.", "error", _files_there),),
    "comparison": (Check("files_are_there", "Table and figure are written.", "error", _files_there),),
    "map_agreement": (Check("files_are_there", "Table, points and figure are written.", "error", _files_there),),
    "report": (Check("files_are_there", "The report is written.", "error", _files_there),),
}

"""Rivals of eSPA, tuned on four inner folds of each training part by log-loss.

XGBoost (depth 2 or 4, 60 or 200 trees at rate 0.1), random forest (200 trees; features per split, leaf size), logistic
regression (six penalties), k nearest neighbours (four k, two weightings) and an RBF support vector machine (three C,
three gamma; Platt scaling). All but the trees see standardised features.
"""

from typing import Any

from espa_common import Model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

FOREST = "random forest"


def inner(model: Any, grid: dict[str, list[Any]]) -> GridSearchCV:
    """Tune on four stratified folds by log-loss."""
    return GridSearchCV(model, grid, scoring="neg_log_loss", cv=StratifiedKFold(4, shuffle=True, random_state=0))


def _svc(_: int) -> Any:
    machine = CalibratedClassifierCV(SVC(), cv=3, ensemble=False)
    name = "calibratedclassifiercv__estimator__"
    grid = {f"{name}C": [0.3, 3.0, 30.0], f"{name}gamma": ["scale", 0.003, 0.03]}
    return inner(make_pipeline(StandardScaler(), machine), grid)


def _neighbours(_: int) -> Any:
    grid = {
        "kneighborsclassifier__n_neighbors": [3, 7, 15, 31],
        "kneighborsclassifier__weights": ["uniform", "distance"],
    }
    return inner(make_pipeline(StandardScaler(), KNeighborsClassifier()), grid)


def _boost(seed: int) -> Any:
    model = XGBClassifier(learning_rate=0.1, subsample=0.8, colsample_bytree=0.5, n_jobs=1, random_state=seed)
    return inner(model, {"max_depth": [2, 4], "n_estimators": [60, 200]})


def _logistic(_: int) -> Any:
    grid = {"logisticregression__C": [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]}
    return inner(make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)), grid)


def _forest(seed: int) -> Any:
    grid = {"max_features": ["sqrt", 0.3], "min_samples_leaf": [1, 4]}
    return inner(RandomForestClassifier(200, random_state=seed), grid)


RIVALS: dict[str, Model] = {
    "logistic regression": _logistic,
    "kNN": _neighbours,
    FOREST: _forest,
    "RBF-SVC": _svc,
    "XGBoost": _boost,
}

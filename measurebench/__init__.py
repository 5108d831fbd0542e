"""Measure robust classifiers, and judge which measures predict their robust generalization.

The public names are imported on first use, so that importing the package takes no time.
"""

from measurebench.core.importing import names_on_first_use

TYPE_CHECKING = False  # as in typing, which takes milliseconds to import
if TYPE_CHECKING:
    from measurebench.checks import check_model
    from measurebench.checks.plugin_listing import list_plugins
    from measurebench.core.plugins import load_plugin
    from measurebench.datasets import load_dataset
    from measurebench.engine.from_python import run
    from measurebench.gallery import attack_images, dataset_subjects, write_gallery, write_picture
    from measurebench.measures.api import measure
    from measurebench.measures.on_loader import eval_rob_accuracy
    from measurebench.models.convert import convert_checkpoint
    from measurebench.models.listing import list_models
    from measurebench.models.loading import load_model
    from measurebench.reporting import write_report
    from measurebench.stats import analyze
    from measurebench.store.folder import read_records
    from measurebench.store.joining import export_table, join_results
    from measurebench.store.status import read_status

__all__ = [
    "analyze",
    "attack_images",
    "check_model",
    "convert_checkpoint",
    "dataset_subjects",
    "eval_rob_accuracy",
    "export_table",
    "join_results",
    "list_models",
    "list_plugins",
    "load_dataset",
    "load_model",
    "load_plugin",
    "measure",
    "read_records",
    "read_status",
    "run",
    "write_gallery",
    "write_picture",
    "write_report",
]

_HOMES = {
    "analyze": "measurebench.stats",
    "attack_images": "measurebench.gallery",
    "check_model": "measurebench.checks",
    "convert_checkpoint": "measurebench.models.convert",
    "dataset_subjects": "measurebench.gallery",
    "eval_rob_accuracy": "measurebench.measures.on_loader",
    "export_table": "measurebench.store.joining",
    "join_results": "measurebench.store.joining",
    "list_models": "measurebench.models.listing",
    "list_plugins": "measurebench.checks.plugin_listing",
    "load_dataset": "measurebench.datasets",
    "load_model": "measurebench.models.loading",
    "load_plugin": "measurebench.core.plugins",
    "measure": "measurebench.measures.api",
    "read_records": "measurebench.store.folder",
    "read_status": "measurebench.store.status",
    "run": "measurebench.engine.from_python",
    "write_gallery": "measurebench.gallery",
    "write_picture": "measurebench.gallery",
    "write_report": "measurebench.reporting",
}

__getattr__ = names_on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

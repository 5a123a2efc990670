"""A round's new training rows: generated, and merged with the reference rows and those of the rounds before."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.loop.config import ReferenceConfig
from components.core.loop.history import Usage
from components.core.loop.reference import hand_over, resolve, work_name
from components.core.loop.rounds import GENERATED_FILE, JUDGED_FILE, ROWS, Generated, Judged, read_result, write_result
from components.core.settings import Settings
from components.core.synthesis import DataGenConfig, DatasetMergeConfig, MergeResult, generate, merge

logger = logging.getLogger(__name__)


def generate_round(
    number: int,
    reference: ReferenceConfig,
    data_gen: Mapping[str, Any],
    before: int,
    left: int,
    judged_dir: Path,
    rows_dir: Path | None,
    output_dir: Path,
    settings: Settings,
) -> Generated:
    """Generate rows after reference rows and rows that the model answered badly; one that is tried again goes on.

    Args:
        number: Of the round.
        reference: Names the reference rows.
        data_gen: Keys of DataGenConfig, without those that are the loop's.
        before: Rows that were generated in earlier rounds.
        left: Rows that may be generated; below 0 as many as `data_gen` says.
        judged_dir: The judged answers of the model before.
        rows_dir: Training rows of the round before; None in the first, which starts from the reference rows.
        output_dir: Gets the new rows and generated.json.
        settings: API keys, and where the work is kept meanwhile.

    Raises:
        PlatformError: As `generate`.
    """
    found, thresholds = resolve(reference), read_result(Judged, judged_dir / JUDGED_FILE).thresholds
    wanted = int(data_gen.get("num_samples", DataGenConfig.model_fields["num_samples"].default))
    wanted = wanted if left < 0 else min(wanted, left)
    name = work_name("generated", number, {**data_gen, "of": reference, "judged": judged_dir, "rows": rows_dir})
    config = DataGenConfig.model_validate(
        {
            **data_gen,
            "num_samples": wanted,
            # another order of seeds in each round
            "seed": int(data_gen.get("seed", DataGenConfig.model_fields["seed"].default)) + number,
            "reference_ds_id": str(rows_dir) if rows_dir else found.dataset_id,
            "reference_ds_split": found.train_split,
            "failed_ds_id": str(judged_dir),
            "failed_ds_split": ROWS,
            "avg_similarity_threshold": thresholds["similarity"],
            "avg_precision_threshold": thresholds["precision"],
            "test_ds_id": found.dataset_id,
            "test_ds_split": found.test_split,
            "synth_ds_id": name,
            "synth_ds_split": found.train_split,
        }
    )
    result = generate(config, settings)
    hand_over(name, found.train_split, output_dir, settings)
    usage = result.usage
    made = Generated(
        rows=result.rows,
        total=before + result.rows,
        usage=Usage(
            calls=usage.requests, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, usd=usage.cost
        ),
    )
    write_result(made, output_dir / GENERATED_FILE)
    return made


def merge_round(
    reference: ReferenceConfig, generated_dir: Path, rows_dir: Path | None, output_dir: Path, settings: Settings
) -> MergeResult:
    """Put the new rows below those so far; the test rows are the reference's, unchanged.

    Args:
        reference: Names the reference rows.
        generated_dir: The new rows.
        rows_dir: Training rows of the round before; None in the first, which starts from the reference rows.
        output_dir: Gets a training and a test split.
        settings: Where the Hub is.

    Raises:
        PlatformError: As `merge`.
    """
    found = resolve(reference)
    config = DatasetMergeConfig(
        ds1_id=str(rows_dir) if rows_dir else found.dataset_id,
        ds1_split=found.train_split,
        ds1_test_split=found.test_split,
        ds2_id=str(generated_dir),
        ds2_split=found.train_split,
        result_ds_id=str(output_dir),
        result_train_split=found.train_split,
        result_test_split=found.test_split,
    )
    result = merge(config, settings)
    logger.info(
        "%d training rows, %d of them new", result.rows, result.kept.get(f"{generated_dir}:{found.train_split}", 0)
    )
    return result

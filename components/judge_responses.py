"""Step: judgement of a round."""

from kfp import dsl

from components._step import step


@step
def judge_responses(
    number: int,
    judge: dict,
    responses: dsl.Input[dsl.Dataset],
    output_judgements: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
):
    """Have a service LLM judge the answers; what was judged before a step is tried again is not asked twice."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop.scoring import judge_round
        from components.core.settings import load_settings

        result = judge_round(number, judge, Path(responses.path), Path(output_judgements.path), load_settings())
        log_metrics(metrics, result.flat_metrics())

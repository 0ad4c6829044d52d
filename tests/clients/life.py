"""The whole life of a fine-tuned model through the official client, the same lines for every version, class and way of calling.

    life.py --client OpenAI|OpenAI-on-Azure|AzureOpenAI --way sync|async --url ... --key ... --model ... --encoder ... --data FOLDER
            --receiver URL

Each step prints a JSON line: what, ok, ms, why not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
import traceback
from pathlib import Path
from typing import Any

import openai
from caller import STEPS, Life, Missing, step

RECIPE: dict[str, Any] = {
    "train": {"method": "head", "effort": "quick", "head_learning_rate": 0.1, "threads": 1, "precision": "fp32"},
    "evaluate": {"bars": {"accuracy": 0.05}, "folds": 0, "baselines": ["majority"], "bootstrap": 20},
    "export": {"runtimes": ["onnx"], "latency_seconds": 0.02, "max_label_change": 1, "max_metric_loss": 1},
}
"""A small recipe: what OpenAI has no word for goes by ``extra_body``."""

SLOW = RECIPE | {"train": {"method": "full", "threads": 1, "precision": "fp32", "effort": "best", "checkpoint_s": 1}}
PATIENCE_S = 400.0


# -- files ------------------------------------------------------------------------------------------------------------


@step
async def files_upload(life: Life) -> None:
    with life.training.open("rb") as stream:
        made = await life.ask(life.client.files.create(file=stream, purpose="fine-tune"))
    assert made.id.startswith("file-")
    assert (made.object, made.filename, made.purpose) == ("file", "training.jsonl", "fine-tune")
    assert made.bytes == life.training.stat().st_size
    life.kept["training_file"] = made.id
    data = Path(life.given.data, "validation.jsonl").read_bytes()
    expires = {"anchor": "created_at", "seconds": 7200}
    made = await life.ask(
        life.client.files.create(file=("held.jsonl", data, "application/jsonl"), purpose="fine-tune", expires_after=expires)
    )
    assert made.expires_at == made.created_at + 7200, made
    life.kept["validation_file"] = made.id


@step
async def files_wait_for_processing(life: Life) -> None:
    for name in (life.training_file, life.validation_file):
        made = await life.ask(life.client.files.wait_for_processing(name, poll_interval=0.1, max_wait_seconds=30))
        assert made.status == "processed", made


@step
async def files_list_retrieve_content(life: Life) -> None:
    found = [one.id for one in await life.every(life.client.files.list(purpose="fine-tune", limit=2))]
    assert len(found) == len(set(found)), "a file came twice"
    assert found.index(life.validation_file) < found.index(life.training_file), "the newest comes first"
    found = [one.id for one in await life.every(life.client.files.list(order="asc", limit=2))]
    assert found.index(life.training_file) < found.index(life.validation_file)
    made = await life.ask(life.client.files.retrieve(life.training_file))
    assert made.filename == "training.jsonl"
    content = await life.ask(life.client.files.content(life.training_file))
    assert content.content == life.training.read_bytes()


@step
async def files_bad_row_is_named(life: Life) -> None:
    lines = life.training.read_text("utf-8").splitlines()
    lines[2] = json.dumps({"messages": [{"role": "user", "content": "and the answer?"}]})
    made = await life.ask(life.client.files.create(file=("bad.jsonl", "\n".join(lines).encode()), purpose="fine-tune"))
    made = await life.ask(life.client.files.wait_for_processing(made.id, poll_interval=0.1, max_wait_seconds=30))
    assert made.status == "error", made
    assert "3" in made.status_details, made.status_details
    create = life.client.fine_tuning.jobs.create
    await life.refused(openai.BadRequestError, lambda: create(model=life.given.model, training_file=made.id), "3", "assistant")
    deleted = await life.ask(life.client.files.delete(made.id))
    assert (deleted.deleted, deleted.id) == (True, made.id)
    await life.refused(openai.NotFoundError, lambda: life.client.files.retrieve(made.id), made.id)


@step
async def uploads_in_parts(life: Life) -> None:
    made = await life.ask(
        life.client.uploads.upload_file_chunked(file=life.training, mime_type="text/jsonl", purpose="fine-tune", part_size=8192)
    )
    assert made.status == "completed", made
    content = await life.ask(life.client.files.content(made.file.id))
    assert content.content == life.training.read_bytes()
    await life.ask(life.client.files.delete(made.file.id))


@step
async def embeddings_first_asked(life: Life) -> None:
    """An encoder is made ready when it is first asked for, here while the job trains."""
    client = life.client.with_options(max_retries=0)
    try:
        await life.ask(client.embeddings.create(model=life.given.encoder, input="hello"))
    except openai.InternalServerError as error:
        if (error.status_code, error.code) != (503, "model_not_ready") or not error.response.headers.get("retry-after"):
            raise


# -- webhooks, jobs ---------------------------------------------------------------------------------------------------


@step
async def webhooks_create(life: Life) -> None:
    url = f"{life.given.receiver}/{life.mark}"
    events: Any = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
    if hasattr(life.client.webhooks, "create"):  # 3.x
        made = await life.ask(life.client.webhooks.create(name=life.mark, url=url, event_types=events))
        life.kept["webhook"], life.kept["secret"] = made.id, made.signing_secret
        assert made.id in [one.id for one in await life.every(life.client.webhooks.list())]
    else:
        body = {"name": life.mark, "url": url, "event_types": events}
        raw = await life.ask(life.client.post("/webhook_endpoints", body=body, cast_to=object))
        life.kept["webhook"], life.kept["secret"] = raw["id"], raw["signing_secret"]
    assert life.secret.startswith("whsec_")


async def _kept(life: Life, name: str) -> str:
    """A file that an earlier life uploaded and left, else a new one: the same file and settings are trained once."""
    for one in await life.every(life.client.files.list(purpose="fine-tune")):
        if one.filename == f"kept-{name}":
            return one.id
    made = await life.ask(life.client.files.create(file=(f"kept-{name}", Path(life.given.data, name).read_bytes()), purpose="fine-tune"))
    return made.id


@step
async def jobs_create(life: Life) -> None:
    training, validation = await _kept(life, "training.jsonl"), await _kept(life, "validation.jsonl")
    job = await life.ask(
        life.client.fine_tuning.jobs.create(
            model=life.given.model,
            training_file=training,
            validation_file=validation,
            suffix="support",
            seed=7,
            metadata={"life": life.mark, "team": "tests"},
            hyperparameters={"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
            extra_body=RECIPE,
        )
    )
    assert job.id.startswith("ftjob-")
    assert (job.object, job.seed, job.model, job.result_files) == ("fine_tuning.job", 7, life.given.model, [])
    assert job.metadata == {"life": life.mark, "team": "tests"}
    assert job.status in ("validating_files", "queued", "running"), job.status
    assert (job.training_file, job.validation_file) == (training, validation)
    assert (job.fine_tuned_model, job.error) == (None, None)
    life.kept["job"] = job.id


@step
async def jobs_list(life: Life) -> None:
    jobs = life.client.fine_tuning.jobs
    assert [one.id for one in await life.every(jobs.list(metadata={"life": life.mark}))] == [life.job]
    assert await life.every(jobs.list(metadata={"life": "another"})) == []
    found = [one.id for one in await life.every(jobs.list(limit=1))]
    assert life.job in found
    assert len(found) == len(set(found))


@step
async def jobs_events_stream_until_the_end(life: Life) -> None:
    jobs, seen = life.client.fine_tuning.jobs, []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        job = await life.ask(jobs.retrieve(life.job))
        page = await life.ask(jobs.list_events(life.job, limit=50))
        seen += [one.id for one in reversed(page.data) if one.id not in seen]
        if job.status in ("succeeded", "failed", "cancelled"):
            break
        await life.rest(0.3)
    assert job.status == "succeeded", f"{job.status}: {job.error}"
    said = [one.message for one in (await life.ask(jobs.list_events(life.job, limit=50))).data]
    assert any("successfully completed" in text for text in said), f"the job ended, and its events do not say so yet: {said[:3]}"
    life.kept["ended"], life.kept["tuned"] = job, job.fine_tuned_model


@step
async def jobs_events_by_pages(life: Life) -> None:
    jobs = life.client.fine_tuning.jobs
    events = await life.every(jobs.list_events(life.job, limit=2))
    assert len({one.id for one in events}) == len(events) > 3
    assert [one.created_at for one in events] == sorted((one.created_at for one in events), reverse=True), "the newest comes first"
    assert all(one.object == "fine_tuning.job.event" and one.level in ("info", "warn", "error") for one in events)
    assert any(life.tuned in one.message for one in events), "no event names the new model"
    assert any(one.type == "metrics" and one.data for one in events), "no event has figures"


@step
async def jobs_end(life: Life) -> None:
    job = life.ended
    assert job.fine_tuned_model.startswith(f"ft:{life.given.model}:"), job.fine_tuned_model
    assert ":support:" in job.fine_tuned_model
    assert job.finished_at >= job.created_at
    assert job.trained_tokens > 0
    assert isinstance(job.hyperparameters.n_epochs, int), job.hyperparameters
    assert isinstance(job.hyperparameters.batch_size, int), job.hyperparameters
    assert job.method.type == "supervised"
    assert job.method.supervised.hyperparameters.n_epochs == job.hyperparameters.n_epochs
    assert job.model_extra["luthier"]["scores"], job.model_extra


@step
async def jobs_checkpoints(life: Life) -> None:
    found = await life.every(life.client.fine_tuning.jobs.checkpoints.list(life.job, limit=1))
    assert found, "no checkpoint"
    steps = [one.step_number for one in found]
    assert steps == sorted(set(steps), reverse=True), steps
    assert all(one.fine_tuning_job_id == life.job and one.object == "fine_tuning.job.checkpoint" for one in found)
    assert found[0].fine_tuned_model_checkpoint.startswith("ft:"), found[0]
    assert found[0].metrics.step == found[0].step_number
    assert found[0].metrics.full_valid_loss is not None or found[0].metrics.valid_loss is not None, found[0].metrics
    life.kept["checkpoint"] = found[0].fine_tuned_model_checkpoint


@step
async def jobs_result_files(life: Life) -> None:
    names = {}
    for name in life.ended.result_files:
        made = await life.ask(life.client.files.retrieve(name))
        assert made.purpose == "fine-tune-results"
        names[made.filename] = (await life.ask(life.client.files.content(name))).content
    table = next(data for name, data in names.items() if name.endswith(".csv")).decode().splitlines()
    assert table[0].startswith("step,train_loss"), table[0]
    assert len(table) > 1
    assert json.loads(next(data for name, data in names.items() if name.endswith(".json")))


# -- models, deployment, answers --------------------------------------------------------------------------------------


@step
async def models_list_retrieve(life: Life) -> None:
    found = [one.id for one in await life.every(life.client.models.list())]
    assert life.tuned in found
    assert life.given.encoder in found
    model = await life.ask(life.client.models.retrieve(life.tuned))
    assert (model.id, model.object) == (life.tuned, "model")
    assert (await life.ask(life.client.models.retrieve(life.given.encoder))).id == life.given.encoder


@step
async def deployment_by_the_resource_manager(life: Life) -> None:
    name = f"support-{life.mark}"
    model = {"format": "OpenAI", "name": life.tuned, "version": "1"}
    body = {"sku": {"name": "standard", "capacity": 1}, "properties": {"model": model}}
    status, made = life.manager("PUT", name, body)
    assert status in (200, 201), (status, made)
    assert made["type"] == "Microsoft.CognitiveServices/accounts/deployments"
    assert made["id"].endswith(f"/deployments/{name}")
    assert made["name"] == name
    assert made["properties"]["provisioningState"] in ("Accepted", "Creating", "Succeeded"), made
    end = time.monotonic() + 60
    while made["properties"]["provisioningState"] != "Succeeded" and time.monotonic() < end:
        await life.rest(0.2)
        status, made = life.manager("GET", name)
    assert (status, made["properties"]["provisioningState"]) == (200, "Succeeded"), made
    assert made["properties"]["model"]["name"] == life.tuned
    life.kept["deployment"] = name


def _names(life: Life) -> list[str]:
    """What a caller may write as the model: Azure's path names the deployment; OpenAI's body the model, or a deployment just so."""
    return [life.deployment] if life.azure else [life.tuned, life.deployment]


@step
async def chat(life: Life) -> None:
    for name in _names(life):
        answer = await life.ask(
            life.client.chat.completions.create(
                model=name, messages=life.messages, temperature=0, max_tokens=500, logprobs=True, top_logprobs=3
            )
        )
        assert answer.object == "chat.completion"
        assert answer.choices[0].message.content in life.labels, answer.choices[0].message
        assert (answer.choices[0].message.role, answer.choices[0].finish_reason) == ("assistant", "stop")
        assert answer.usage.prompt_tokens > 0
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        first = answer.choices[0].logprobs.content[0]
        assert len(first.top_logprobs) == 3
        assert first.logprob <= 0
        assert first.top_logprobs[0].logprob >= first.top_logprobs[2].logprob
        life.kept["answer"] = answer.choices[0].message.content
    assert answer.model_extra or answer.choices[0].model_extra or answer.choices[0].message.model_extra, "no word of confidence"


@step
async def chat_streamed(life: Life) -> None:
    chunks = await life.every(
        await life.ask(
            life.client.chat.completions.create(
                model=_names(life)[0], messages=life.messages, stream=True, stream_options={"include_usage": True}
            )
        )
    )
    assert all(one.object == "chat.completion.chunk" for one in chunks)
    text = "".join(choice.delta.content or "" for one in chunks for choice in one.choices)
    assert text == life.answer, (text, life.answer)
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens > 0) == ([], True)
    assert [choice.finish_reason for one in chunks for choice in one.choices][-1] == "stop"


@step
async def chat_by_a_checkpoint(life: Life) -> None:
    if life.azure:
        return  # there only what is deployed answers
    # What it answers by is made when it is first asked for: until then 503 says so, and when to ask again (a test asks sooner).
    client, messages = life.client.with_options(max_retries=0), life.messages
    end, said = time.monotonic() + PATIENCE_S, "ready"
    while time.monotonic() < end:
        try:
            answer = await life.ask(client.chat.completions.create(model=life.checkpoint, messages=messages))
            break
        except openai.InternalServerError as error:
            said = f"{error.status_code} {error.code} {error.response.headers.get('retry-after')}"
            if not said.startswith("503 model_not_ready"):
                raise
            await life.rest(0.3)
    assert answer.choices[0].message.content in life.labels
    assert said in ("ready", "503 model_not_ready 20"), said


@step
async def completions(life: Life) -> None:
    answer = await life.ask(life.client.completions.create(model=_names(life)[0], prompt=life.messages[-1]["content"], max_tokens=10))
    assert answer.object == "text_completion"
    assert answer.choices[0].text.strip() in life.labels, answer


@step
async def embeddings(life: Life) -> None:
    texts = ["where is my parcel", "my parcel: where is it?", "I want my money back"]
    answer = await life.ask(life.client.embeddings.create(model=life.given.encoder, input=texts))
    first, near, far = (one.embedding for one in answer.data)
    assert len(first) == (384 if life.given.encoder == "all-minilm-l6-v2" else len(far)) > 8
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert _cosine(first, near) > _cosine(first, far)
    plain = await life.ask(life.client.embeddings.create(model=life.given.encoder, input=texts[0], encoding_format="float"))
    assert max(abs(one - other) for one, other in zip(plain.data[0].embedding, first, strict=True)) < 1e-4
    assert plain.usage.prompt_tokens > 0


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


@step
async def webhooks_unwrap(life: Life) -> None:
    end = time.monotonic() + 30
    while not (came := life.delivered()) and time.monotonic() < end:
        await life.rest(0.3)
    assert came, "no webhook was delivered"
    one = came[0]
    event = await life.ask(life.client.webhooks.unwrap(one["body"], one["headers"], secret=life.secret))
    assert (event.object, event.type, event.data.id) == ("event", "fine_tuning.job.succeeded", life.job), event
    other = "whsec_" + "QUFB" * 8
    await life.refused(openai.InvalidWebhookSignatureError, lambda: life.client.webhooks.unwrap(one["body"], one["headers"], secret=other))


# -- errors -----------------------------------------------------------------------------------------------------------


@step
async def errors(life: Life) -> None:
    client, jobs = life.client, life.client.fine_tuning.jobs
    await life.refused(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"), "no-such-model")
    await life.refused(openai.NotFoundError, lambda: client.files.retrieve("file-nothing"), "file-nothing")
    await life.refused(openai.NotFoundError, lambda: jobs.retrieve("ftjob-nothing"), "ftjob-nothing")
    await life.refused(openai.NotFoundError, lambda: jobs.create(model="no-such-model", training_file=life.training_file), "no-such-model")
    await life.refused(openai.NotFoundError, lambda: jobs.create(model=life.given.model, training_file="file-nothing"), "file-nothing")
    chat = client.chat.completions
    await life.refused(openai.NotFoundError, lambda: chat.create(model="no-such-model", messages=life.messages), "no-such-model")
    many: Any = {"n_epochs": 999}
    wrong = {"model": life.given.model, "training_file": life.training_file}
    await life.refused(openai.BadRequestError, lambda: jobs.create(**wrong, hyperparameters=many), "n_epochs", "50")
    await life.refused(openai.BadRequestError, lambda: jobs.create(**wrong, extra_body={"colour": "red"}), "colour")
    await life.refused(openai.BadRequestError, lambda: jobs.create(**wrong, extra_body={"train": {"epoch": 3}}), "epoch")
    await life.refused(openai.BadRequestError, lambda: chat.create(model=_names(life)[0], messages=[]), "messages")


@step
async def errors_of_keys(life: Life) -> None:
    stranger = life.connect(api_key="sk-wrong")
    await life.refused(openai.AuthenticationError, lambda: stranger.files.list(), "key")
    if life.azure:
        bearer = life.connect(azure_ad_token=life.given.key)
        assert await life.every(bearer.files.list())


# -- other ends -------------------------------------------------------------------------------------------------------


@step
async def jobs_repeated_by_the_client_are_one(life: Life) -> None:
    body: dict[str, Any] = {"model": life.given.model, "training_file": life.training_file, "metadata": {"life": f"{life.mark}-slow"}}
    body |= {"hyperparameters": {"n_epochs": 50}, "extra_body": SLOW | {"priority": -10}}
    first = await life.ask(life.client.fine_tuning.jobs.create(**body))
    again = await life.ask(life.client.fine_tuning.jobs.create(**body, extra_headers={"x-stainless-retry-count": "1"}))
    life.kept["slow"] = first.id
    assert again.id == first.id, "the client's own repetition made a second job"


@step
async def jobs_pause_resume_cancel(life: Life) -> None:
    jobs = life.client.fine_tuning.jobs
    paused = await life.ask(jobs.pause(life.slow))
    assert paused.status == "paused", paused.status
    # A job that can go on still uses its file. The client repeats a 409 twice, so this also shows that it is told not to.
    start = time.monotonic()
    await life.refused(openai.ConflictError, lambda: life.client.files.delete(life.training_file), life.slow)
    assert time.monotonic() - start < 1.5, "the client was let repeat what cannot help"
    assert (await life.ask(jobs.resume(life.slow))).status in ("queued", "running")
    ended = await life.ask(jobs.cancel(life.slow))
    assert ended.status == "cancelled", ended.status
    await life.refused(openai.APIStatusError, lambda: jobs.cancel(life.slow), "cancelled")
    assert (await life.ask(jobs.retrieve(life.slow))).finished_at


@step
async def deleting(life: Life) -> None:
    await life.refused(openai.ConflictError, lambda: life.client.models.delete(life.tuned), "deployed")
    assert life.manager("DELETE", life.deployment)[0] in (200, 202, 204)
    assert life.manager("GET", life.deployment)[0] == 404
    gone = await life.ask(life.client.models.delete(life.tuned))
    assert (gone.deleted, gone.id) == (True, life.tuned)
    await life.refused(openai.NotFoundError, lambda: life.client.models.retrieve(life.tuned), life.tuned)
    await life.ask(life.client.delete(f"/fine_tuning/jobs/{life.slow}", cast_to=type(None)))  # Azure's call
    await life.refused(openai.NotFoundError, lambda: life.client.fine_tuning.jobs.retrieve(life.slow), life.slow)
    for name in (life.validation_file, life.training_file):
        assert (await life.ask(life.client.files.delete(name))).deleted
    await life.ask(life.client.delete(f"/webhook_endpoints/{life.webhook}", cast_to=object))


# -- the walk ---------------------------------------------------------------------------------------------------------


async def walk(life: Life) -> None:
    """Every step in order; one that fails does not end the walk."""
    for one in STEPS:
        start, why, trace = time.perf_counter(), "", ""
        try:
            await one(life)
        except Missing as missing:
            why = f"not tried: {missing}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            why, trace = f"{type(error).__name__}: {error}"[:1500], traceback.format_exc(limit=-3)[-1500:]
        took = round(1000 * (time.perf_counter() - start))
        print(json.dumps({"step": one.__name__, "ok": not why, "ms": took, "why": why, "trace": trace}), flush=True)
    await life.ask(life.client.close())


def straight(coroutine: Any) -> None:
    """Runs a coroutine that never waits: the synchronous client is called without any event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the synchronous client waited")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("client", "way", "url", "key", "model", "encoder", "data", "receiver"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    print(json.dumps({"openai": openai.__version__, "file": openai.__file__}), flush=True)
    if options.way == "async":

        async def _all() -> None:
            await walk(Life(options))

        asyncio.run(_all())
    else:
        straight(walk(Life(options)))

"""Supervised fine-tuning as OpenAI's guide shows it, step by step: upload, create, look, use, cancel, delete.

Changed: the model's name. The base URL and the key come from OPENAI_BASE_URL and OPENAI_API_KEY, where the client looks by itself.
"""

import os
import time

from openai import OpenAI

client = OpenAI()

# Upload a training file
file = client.files.create(
    file=open("sentiment.jsonl", "rb"),  # noqa: SIM115
    purpose="fine-tune",
)
client.files.wait_for_processing(file.id)

# Create a fine-tuned model
job = client.fine_tuning.jobs.create(
    training_file=file.id,
    model=os.environ["MODEL"],
    method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
)

# List 10 fine-tuning jobs
print(client.fine_tuning.jobs.list(limit=10))

# Retrieve the state of a fine-tune, until it has ended
while True:
    job = client.fine_tuning.jobs.retrieve(job.id)
    if job.status in ("succeeded", "failed", "cancelled"):
        break
    time.sleep(1)

# List up to 10 events from a fine-tuning job
for event in client.fine_tuning.jobs.list_events(fine_tuning_job_id=job.id, limit=10):
    print(event.created_at, event.message)

# Every epoch leaves a checkpoint
for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
    print(checkpoint.step_number, checkpoint.fine_tuned_model_checkpoint, checkpoint.metrics.full_valid_loss)

# Use a fine-tuned model
completion = client.chat.completions.create(
    model=job.fine_tuned_model,
    messages=[
        {"role": "system", "content": "Given a message to a shop, answer with its topic."},
        {"role": "user", "content": "Where is my parcel?"},
    ],
)
print(completion.choices[0].message)
print("ANSWER", completion.choices[0].message.content)

# Cancel a job
other = client.fine_tuning.jobs.create(training_file=file.id, model=os.environ["MODEL"], suffix="never-needed", seed=3)
print("CANCELLED", client.fine_tuning.jobs.cancel(other.id).status)

# Delete a fine-tuned model
print("DELETED", client.models.delete(job.fine_tuned_model).deleted)

"""Chat models fine-tuned as OpenAI's cookbook shows it: the client of the module, data written by hand, events read in reverse.

Changed: the model's name. The base URL and the key come from OPENAI_BASE_URL and OPENAI_API_KEY.
"""

import json
import os
import time
from pprint import pprint

import openai

openai.api_key = os.getenv("OPENAI_API_KEY", "")

system_message = "You sort the messages of a shop's customers. Answer with one word."


def create_user_message(row):
    return f"Message: {row['text']}\n\nTopic: "


def prepare_example_conversation(row):
    return {
        "messages": [
            {"role": "system", "content": system_message},
            {"role": "user", "content": create_user_message(row)},
            {"role": "assistant", "content": row["label"]},
        ]
    }


rows = json.load(open("rows.json"))  # noqa: SIM115
training_data = [prepare_example_conversation(row) for row in rows[:100]]
validation_data = [prepare_example_conversation(row) for row in rows[100:120]]


def write_jsonl(data_list: list, filename: str) -> None:
    with open(filename, "w") as out:
        for ddict in data_list:
            out.write(json.dumps(ddict) + "\n")


write_jsonl(training_data, "tmp_topics_training.jsonl")
write_jsonl(validation_data, "tmp_topics_validation.jsonl")

with open("tmp_topics_training.jsonl", "rb") as training_fd:
    training_response = openai.files.create(file=training_fd, purpose="fine-tune")
with open("tmp_topics_validation.jsonl", "rb") as validation_fd:
    validation_response = openai.files.create(file=validation_fd, purpose="fine-tune")

print("Training file ID:", training_response.id)
print("Validation file ID:", validation_response.id)

response = openai.fine_tuning.jobs.create(
    training_file=training_response.id,
    validation_file=validation_response.id,
    model=os.environ["MODEL"],
    suffix="topics",
)
job_id = response.id
print("Job ID:", response.id)
print("Status:", response.status)

while openai.fine_tuning.jobs.retrieve(job_id).status not in ("succeeded", "failed", "cancelled"):
    time.sleep(1)

response = openai.fine_tuning.jobs.list_events(job_id)
events = response.data
events.reverse()
for event in events:
    print(event.message)

response = openai.fine_tuning.jobs.retrieve(job_id)
print("Trained Tokens:", response.trained_tokens)
fine_tuned_model_id = response.fine_tuned_model
if fine_tuned_model_id is None:
    raise RuntimeError(f"Fine-tuned model ID not found: {response.error}")
print("Fine-tuned model ID:", fine_tuned_model_id)

test_messages = prepare_example_conversation(rows[-1])["messages"][:2]
pprint(test_messages)
response = openai.chat.completions.create(model=fine_tuned_model_id, messages=test_messages, temperature=0, max_tokens=500)
print("ANSWER", response.choices[0].message.content)

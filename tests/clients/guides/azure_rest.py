"""The same calls as Azure's guide shows them for REST: by ``requests`` with the ``api-key`` header, events and checkpoints asked by POST.

Changed: the model's name. The endpoint and the key come from AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY.
"""

import os
import time

import requests

endpoint = os.environ["AZURE_OPENAI_ENDPOINT"]
headers = {"api-key": os.environ["AZURE_OPENAI_API_KEY"]}
version = {"api-version": "2024-10-21"}


def checked(answer):
    assert answer.ok, (answer.status_code, answer.text)
    return answer.json()


with open("training_set.jsonl", "rb") as file:
    data = {"purpose": "fine-tune"}
    uploaded = requests.post(f"{endpoint}/openai/files", params=version, headers=headers, data=data, files={"file": file})
file_id = checked(uploaded)["id"]

while (state := checked(requests.get(f"{endpoint}/openai/files/{file_id}", params=version, headers=headers))["status"]) != "processed":
    assert state not in ("error", "deleted"), state
    time.sleep(1)

jobs = f"{endpoint}/openai/fine_tuning/jobs"
job = checked(requests.post(jobs, params=version, headers=headers, json={"model": os.environ["MODEL"], "training_file": file_id}))
while job["status"] not in ("succeeded", "failed", "cancelled"):
    time.sleep(1)
    job = checked(requests.get(f"{jobs}/{job['id']}", params=version, headers=headers))

events = checked(requests.post(f"{jobs}/{job['id']}/events", params=version, headers=headers))
checkpoints = checked(requests.post(f"{jobs}/{job['id']}/checkpoints", params=version, headers=headers))
print("EVENTS", len(events["data"]), "CHECKPOINTS", len(checkpoints["data"]))

content = requests.get(f"{endpoint}/openai/files/{job['result_files'][0]}/content", params=version, headers=headers)
print("RESULT", content.text.splitlines()[0])

nothing = requests.get(f"{jobs}/ftjob-nothing", params=version, headers=headers)
print("ERROR", nothing.status_code, sorted(nothing.json()["error"]))
print("MODEL", job["fine_tuned_model"])

"""A model customised, deployed and asked as Azure's guide shows it: AzureOpenAI, status polling, the control plane by requests.

Changed: the model's name, and the control plane's host (https://management.azure.com). The endpoint and the key come from
AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY as in the guide. The files begin with a byte-order mark, as the guide demands.
"""

import json
import os
import time

import requests
from openai import AzureOpenAI

client = AzureOpenAI(
    azure_endpoint=os.getenv("AZURE_OPENAI_ENDPOINT"),
    api_key=os.getenv("AZURE_OPENAI_API_KEY"),
    api_version="2024-10-21",  # this version or later for seed, events and checkpoints
)

# Upload the training and validation files
training_response = client.files.create(file=open("training_set.jsonl", "rb"), purpose="fine-tune")  # noqa: SIM115
validation_response = client.files.create(file=open("validation_set.jsonl", "rb"), purpose="fine-tune")  # noqa: SIM115
training_file_id, validation_file_id = training_response.id, validation_response.id
print("Training file ID:", training_file_id)
print("Validation file ID:", validation_file_id)

# Create a customised model
response = client.fine_tuning.jobs.create(
    training_file=training_file_id,
    validation_file=validation_file_id,
    model=os.environ["MODEL"],
    seed=105,
)
job_id = response.id
print("Job ID:", response.id)
print("Status:", response.status)
print(response.model_dump_json(indent=2))

# Check the status
start_time = time.time()
status = client.fine_tuning.jobs.retrieve(job_id).status
while status not in ["succeeded", "failed"]:
    time.sleep(1)
    response = client.fine_tuning.jobs.retrieve(job_id)
    print(f"Elapsed time: {int((time.time() - start_time) // 60)} minutes {int((time.time() - start_time) % 60)} seconds")
    status = response.status
    print(f"Status: {status}")

# Events and checkpoints
response = client.fine_tuning.jobs.list_events(fine_tuning_job_id=job_id, limit=10)
print(response.model_dump_json(indent=2))
response = client.fine_tuning.jobs.checkpoints.list(job_id)
print(response.model_dump_json(indent=2))
print("CHECKPOINTS", len(response.data))

# Analyse: the first result file
response = client.fine_tuning.jobs.retrieve(job_id)
print(response.model_dump_json(indent=2))
if response.status == "succeeded":
    result_file_id = response.result_files[0]
retrieve = client.files.retrieve(result_file_id)
with open(retrieve.filename, "wb") as file:
    result = client.files.content(result_file_id).read()
    file.write(result)
print("RESULT", open(retrieve.filename).readline().strip())  # noqa: SIM115
fine_tuned_model = response.fine_tuned_model

# Deploy it by the control plane
token = os.getenv("TEMP_AUTH_TOKEN")
subscription = "00000000-0000-0000-0000-000000000000"
resource_group = "my-group"
resource_name = "my-resource"
model_deployment_name = os.environ["DEPLOYMENT"]  # the name that calls refer to

deploy_params = {"api-version": "2024-10-01"}
deploy_headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
deploy_data = {
    "sku": {"name": "standard", "capacity": 1},
    "properties": {"model": {"format": "OpenAI", "name": fine_tuned_model, "version": "1"}},
}
deploy_data = json.dumps(deploy_data)
request_url = (
    f"{os.environ['MANAGEMENT']}/subscriptions/{subscription}/resourceGroups/{resource_group}"
    f"/providers/Microsoft.CognitiveServices/accounts/{resource_name}/deployments/{model_deployment_name}"
)
print("Creating a new deployment...")
r = requests.put(request_url, params=deploy_params, headers=deploy_headers, data=deploy_data)
print(r)
print(r.reason)
print(r.json())
while requests.get(request_url, params=deploy_params, headers=deploy_headers).json()["properties"]["provisioningState"] != "Succeeded":
    time.sleep(1)

# Use the deployed model
client = AzureOpenAI(
    azure_endpoint=os.getenv("AZURE_OPENAI_ENDPOINT"),
    api_key=os.getenv("AZURE_OPENAI_API_KEY"),
    api_version="2024-10-21",
)
response = client.chat.completions.create(
    model=model_deployment_name,  # the deployment's name, not the model's
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Does Azure OpenAI support customer managed keys?"},
        {"role": "assistant", "content": "account"},
        {"role": "user", "content": "Where is my parcel?"},
    ],
)
print("ANSWER", response.choices[0].message.content)

# Clean up: the deployment, the model, the files
r = requests.delete(request_url, params=deploy_params, headers=deploy_headers)
print("DEPLOYMENT DELETED", r.ok)
print("MODEL DELETED", client.models.delete(fine_tuned_model).deleted)
for name in (training_file_id, validation_file_id):
    client.files.delete(name)

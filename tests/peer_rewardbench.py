"""Run by the peers' Python: RewardBench's own code loads and scores an exported model, one JSON line.

    peer_rewardbench.py PACKAGES FOLDER PAIRS.jsonl

PACKAGES is where RewardBench lies. Of it are taken what reads and renders the data, and the pipeline; not what imports
all models it knows, some by names that transformers no longer has. What its command does between them is done here as
there, for a model that it has no code of its own for. There, tokens go to a GPU; here they stay.
"""

import json
import sys
import types

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

packages, folder, data = sys.argv[1:]


def module(name, **contents):
    made = types.ModuleType(name)
    made.__path__ = [f"{packages}/{name.replace('.', '/')}"]
    vars(made).update(contents)
    sys.modules[name] = made


module("rewardbench")
module("rewardbench.models", REWARD_MODEL_CONFIG={})
module("fastchat")
module("fastchat.conversation", Conversation=type("Conversation", (), {}))  # named in annotations alone

from rewardbench.models.pipeline import RewardBenchPipeline  # noqa: E402
from rewardbench.utils import check_tokenizer_chat_template, load_and_process_dataset  # noqa: E402

transformers.BatchEncoding.to = lambda self, device: self
transformers.logging.set_verbosity_error()
tokenizer = AutoTokenizer.from_pretrained(folder)
dataset = load_and_process_dataset(data, json=True, tokenizer=tokenizer)
tokenizer.padding_side = "left"
model = AutoModelForSequenceClassification.from_pretrained(folder, device_map="auto", dtype=torch.float32)
pipeline = RewardBenchPipeline("text-classification", model=model, tokenizer=tokenizer)
assert pipeline.tokenizer.pad_token_id is not None
assert pipeline.model.config.pad_token_id is not None
assert check_tokenizer_chat_template(tokenizer)
options = {"batch_size": 8, "truncation": False, "padding": True, "max_length": 512}
scores, tokens = {}, {}
for side in ("chosen", "rejected"):
    texts = dataset[f"text_{side}"]
    batches = [list(texts[place : place + 8]) for place in range(0, len(texts), 8)]
    scores[side] = [score for batch in batches for (score,) in pipeline(batch, **options).tolist()]
    tokens[side] = tokenizer(list(texts))["input_ids"]
print(json.dumps({"scores": scores, "tokens": tokens}))

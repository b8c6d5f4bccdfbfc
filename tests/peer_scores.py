"""Run by the peers' Python: the scores that transformers gives texts with an exported model, one JSON line.

    peer_scores.py FOLDER TEXTS.json

TEXTS.json holds a list of plain texts, to which the end token is added, or of conversations, for the chat template.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

transformers.logging.set_verbosity_error()
folder, texts = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
tokenizer = AutoTokenizer.from_pretrained(folder)
model, loading = AutoModelForSequenceClassification.from_pretrained(
    folder, dtype=torch.float32, output_loading_info=True
)
assert not any(loading.values()), loading
model.eval()
texts = [
    text + tokenizer.eos_token if isinstance(text, str) else tokenizer.apply_chat_template(text, tokenize=False)
    for text in texts
]


def scores(texts, **padding):
    batch = tokenizer(texts, return_tensors="pt", **padding)
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        return model(**batch).logits[:, 0].tolist()


alone = [scores([text])[0] for text in texts]
print(json.dumps({"alone": alone, "padded": scores(texts, padding=True), "texts": texts}))

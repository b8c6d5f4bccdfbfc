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
conversations = [
    tokenizer(text + tokenizer.eos_token)["input_ids"]
    if isinstance(text, str)
    else tokenizer.apply_chat_template(text)["input_ids"]
    for text in texts
]


def scores(conversations, side="right"):
    tokenizer.padding_side = side
    batch = tokenizer.pad({"input_ids": conversations}, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits[:, 0].tolist()


alone = [scores([tokens])[0] for tokens in conversations]
padded = {side: scores(conversations, side) for side in ("left", "right")}
print(json.dumps({"alone": alone, "tokens": conversations, **padded}))

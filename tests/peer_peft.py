"""Run by the peers' Python: the scores of a sequence classifier with an adapter of PEFT, one JSON line.

    peer_peft.py read BASE ADAPTER ROWS.json
    peer_peft.py make BASE ADAPTER ROWS.json TARGET,TARGET,…

ROWS.json holds lists of tokens. ``make`` draws the adapter, and the head, and saves it.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification

transformers.logging.set_verbosity_error()
how, base, folder, rows = sys.argv[1:5]
torch.manual_seed(0)
model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32, num_labels=1)
if how == "make":
    settings = LoraConfig(task_type=TaskType.SEQ_CLS, r=3, lora_alpha=5, target_modules=sys.argv[5].split(","))
    model = get_peft_model(model, settings)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3 if "lora" in name else 0.1)
    model.save_pretrained(folder)
else:
    model = PeftModel.from_pretrained(model, folder)
model.eval()
with torch.no_grad():
    found = [model(input_ids=torch.tensor([row])).logits[0, 0].item() for row in json.loads(Path(rows).read_text())]
print(json.dumps(found))

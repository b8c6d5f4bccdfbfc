"""Run by the peers' Python: TRL's GRPOTrainer takes three steps with a reward that rmjax serves, one JSON line.

    peer_grpo.py URL TOKENIZER FOLDER PROMPTS.json

The policy is a tiny random language model with the tokenizer of the folder TOKENIZER.
"""

import functools
import json
import sys
from pathlib import Path

import datasets
import torch
import transformers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from rmjax import reward_function

url, tokenizer_folder, folder = sys.argv[1:4]
prompts = json.loads(Path(sys.argv[4]).read_text())
assert "jax" not in sys.modules
transformers.logging.set_verbosity_error()
datasets.disable_progress_bars()
tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=1, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
)  # fmt: skip
reward, calls = reward_function(url, name="helpfulness"), []


@functools.wraps(reward.__call__)
def helpfulness(prompts, completions, **columns):
    rewards = reward(prompts, completions, **columns)
    calls.append({"prompts": prompts, "completions": completions, "rewards": rewards})
    return rewards


helpfulness.__name__ = reward.__name__
trainer = GRPOTrainer(
    model=LlamaForCausalLM(config),
    reward_funcs=helpfulness,
    processing_class=tokenizer,
    train_dataset=datasets.Dataset.from_dict({"prompt": prompts, "answer": ["unused"] * len(prompts)}),
    args=GRPOConfig(
        output_dir=folder, max_steps=3, per_device_train_batch_size=8, num_generations=4, max_completion_length=23,
        logging_steps=1, report_to=[], use_cpu=True, bf16=False, save_strategy="no", disable_tqdm=True, seed=1,
        learning_rate=0.01,
    ),
)  # fmt: skip
trainer.train()
logged = [entry for entry in trainer.state.log_history if "rewards/helpfulness/mean" in entry]
print(json.dumps({"calls": calls, "logged": logged, "steps": trainer.state.global_step}))

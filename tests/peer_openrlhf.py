"""Run by the peers' Python: OpenRLHF's own rollout code asks a server for rewards, one JSON line.

    peer_openrlhf.py PACKAGES URLS.json TOKENIZER PAIRS.json

PACKAGES is where OpenRLHF lies without what it depends on (vLLM, DeepSpeed, flash-attn, which need GPUs): of it, the
module that talks to reward servers is imported alone. In the place of vLLM stands an engine that says given responses.
"""

import asyncio
import json
import sys
import types
from pathlib import Path

from transformers import AutoTokenizer

packages, tokenizer_folder = Path(sys.argv[1]), sys.argv[3]
urls, pairs = (json.loads(Path(path).read_text()) for path in (sys.argv[2], sys.argv[4]))
for name in ("openrlhf", "openrlhf.utils"):  # without their __init__, which import all of OpenRLHF
    package = types.ModuleType(name)
    package.__path__ = [str(packages / name.replace(".", "/"))]
    sys.modules[name] = package

from openrlhf.utils.agent import SingleTurnAgentExecutor  # noqa: E402

tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)


class Engine:
    """Says the next of the responses, and ends as a policy does, with its end token."""

    def __init__(self, response):
        self._ids = [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    async def generate(self, prompt_ids, params, multi_modal_data=None):
        output = types.SimpleNamespace(token_ids=self._ids, finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[output])


async def rollouts():
    executor = SingleTurnAgentExecutor(urls)
    asked = (
        executor.execute(prompt, "a label", sampling, 512, tokenizer, Engine(response)) for prompt, response in pairs
    )
    return await asyncio.gather(*asked)


found = asyncio.run(rollouts())
print(json.dumps([{name: entry[name] for name in ("reward", "scores", "extra_logs")} for entry in found]))

#!/usr/bin/env python3
"""The official openai client against a running server, whose keys are good for a first refusal.

    openai_client.py http://127.0.0.1:8080 [KEY]

Exits with 0 when every check holds; says which did not.
"""
import math
import sys

import openai

url, key = sys.argv[1], (sys.argv[2:] or ["any"])[0]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
MODEL = client.models.list().data[0].id
PROMPT = "<|user|>\nThere are 32 eggs at the garden. Grace takes 7 eggs. How many eggs are left?\n<|assistant|>\n"
MESSAGES = [{"role": "user", "content": "There are 32 eggs at the garden. Grace takes 7 eggs. How many eggs are left?"}]
checks = []


def check(function):
    checks.append(function)
    return function


def complete(**fields):
    return client.completions.create(**{"model": MODEL, "prompt": PROMPT, "max_tokens": 24, "temperature": 0, **fields})


def chat(**fields):
    return client.chat.completions.create(
        **{"model": MODEL, "messages": MESSAGES, "max_completion_tokens": 24, "temperature": 0, **fields})


def refused(error, param, call, **fields):
    try:
        call(**fields)
    except error as refusal:
        assert refusal.param == param, refusal
        return refusal
    raise AssertionError(f"{fields} was not refused")


@check
def models():
    assert client.models.retrieve(MODEL).id == MODEL


@check
def completion():
    answer = complete()
    assert answer.choices[0].text and answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.choices[0].text == complete().choices[0].text
    again = complete().usage.prompt_tokens_details.cached_tokens
    assert 0 < again < usage.prompt_tokens, again


@check
def completion_streamed():
    chunks = list(complete(stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == complete().choices[0].text
    assert not chunks[-1].choices and chunks[-1].usage.completion_tokens > 0


@check
def chat_whole_and_streamed():
    answer = chat()
    assert answer.choices[0].message.role == "assistant"
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(pieces) == answer.choices[0].message.content
    assert chunks[-1].usage == answer.usage or chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    parts = [{"role": "user", "content": [{"type": "text", "text": MESSAGES[0]["content"]}]}]
    assert chat(messages=parts).choices[0].message.content == answer.choices[0].message.content


@check
def choices_seeds_and_stop():
    many = complete(n=3, temperature=1, seed=7).choices
    assert [choice.index for choice in many] == [0, 1, 2] and len({choice.text for choice in many}) > 1
    assert [choice.text for choice in complete(n=3, temperature=1, seed=7).choices] == [choice.text for choice in many]
    whole = complete().choices[0].text
    stop = whole[len(whole) // 2:][:3]
    stopped = complete(stop=[stop]).choices[0]
    assert stopped.finish_reason == "stop" and stopped.text == whole[:whole.index(stop)]
    short = complete(extra_body={"min_tokens": 60}, max_tokens=60)
    assert short.usage.completion_tokens == 60


@check
def logprobs_of_completions():
    choice = complete(logprobs=3).choices[0]
    said = choice.logprobs
    assert len(said.tokens) == len(said.token_logprobs) == len(said.top_logprobs) == len(said.text_offset)
    for logprob, top in zip(said.token_logprobs, said.top_logprobs):
        assert math.isfinite(logprob) and logprob == max(top.values())
    assert complete(logprobs=3, extra_body={"cascade": "off"}).choices[0].logprobs == said


@check
def logprobs_of_chats():
    content = chat(logprobs=True, top_logprobs=5).choices[0].logprobs.content
    assert content and all(len(entry.top_logprobs) == 5 for entry in content)
    assert all(entry.logprob == entry.top_logprobs[0].logprob for entry in content)
    streamed = chat(logprobs=True, top_logprobs=5, stream=True)
    pieces = [entry for chunk in streamed for entry in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])]
    assert pieces == content


@check
def echo_scores_a_prompt():
    alone = complete(echo=True, logprobs=1, max_tokens=0).choices[0]
    assert alone.text == PROMPT and alone.logprobs.token_logprobs[0] is None
    more = complete(echo=True, logprobs=1).choices[0]
    count = len(alone.logprobs.tokens)
    assert more.logprobs.token_logprobs[:count] == alone.logprobs.token_logprobs
    assert more.text.startswith(PROMPT)


@check
def refusals():
    refused(openai.BadRequestError, "temperature", complete, temperature=-1)
    refused(openai.BadRequestError, "tools", chat, tools=[])
    refused(openai.BadRequestError, "response_format", chat, response_format={"type": "json_object"})
    refused(openai.BadRequestError, "best_of", complete, best_of=2)
    refused(openai.BadRequestError, "prompt", complete, prompt=[[99999999]])
    refused(openai.BadRequestError, "prompt", complete, prompt=[[5] * 9999])
    refused(openai.NotFoundError, "model", complete, model="another")
    assert complete(user="me", extra_body={"metadata": {"a": "b"}}).choices


@check
def keys():
    if key == "any":
        return
    stranger = client.with_options(api_key="wrong")
    try:
        stranger.models.list()
    except openai.AuthenticationError as refusal:
        assert refusal.code == "invalid_api_key"
    else:
        raise AssertionError("a wrong key was let in")


for function in checks:
    function()
    print(f"ok  {function.__name__}")

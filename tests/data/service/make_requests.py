"""Writes the HTTP requests of other frameworks' reward clients, byte for byte, as *.http.

Each is what the client's HTTP library really sends for the call in that client's source:
  OpenRLHF openrlhf/utils/agent.py, _fetch_rewards_via_http: aiohttp, session.post(url, json=data)
  OpenRLHF 0.8 openrlhf/utils/remote_rm_utils.py: requests.post(url=url, json=data, headers=headers, timeout=180)
  slime    slime/rollout/rm_hub/__init__.py, remote_rm: aiohttp, session.post(url, json=payload)
  verl     verl/utils/reward_score/sandbox_fusion/utils.py, call_sandbox_api: requests.post(url, headers=, data=json.dumps(..))

usage: make_requests.py   (needs requests and aiohttp; writes into its own folder)
"""
import asyncio, json, os, socket, threading

import aiohttp, requests

HERE = os.path.dirname(os.path.abspath(__file__))
QUERY = ["<|im_start|>user\nWhat is 9 + 9?<|im_end|>\n<|im_start|>assistant\nIt is \u201c18\u201d.\n#### 18<|im_end|>\n"]
PROMPTS = ["<|im_start|>user\nWhat is 9 + 9?<|im_end|>\n<|im_start|>assistant\n"]
LABELS = ["18"]


def record(reply, call):
    """Runs call(url) against a socket that answers `reply`; returns what was sent."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 5000))
    listener.listen(1)
    got = []

    def serve():
        line, _ = listener.accept()
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.recv(65536)
        head = data.split(b"\r\n\r\n")[0]
        length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length"))
        while len(data) < len(head) + 4 + length:
            data += line.recv(65536)
        got.append(data)
        body = json.dumps(reply).encode()
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        line.close()

    thread = threading.Thread(target=serve)
    thread.start()
    call("http://127.0.0.1:5000")
    thread.join()
    listener.close()
    return got[0]


def post_aiohttp(path, payload, total):
    async def post(url):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=total)) as session:
            async with session.post(url + path, json=payload) as response:
                response.raise_for_status()
                return await response.json()

    return lambda url: asyncio.run(post(url))


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


rewards = {"query": QUERY, "prompts": PROMPTS, "labels": LABELS}
write("openrlhf.http", record({}, post_aiohttp("/get_reward", rewards, 180)))
write("openrlhf_empty.http", record({}, post_aiohttp("/get_reward", {"query": [], "prompts": [], "labels": []}, 180)))
write("openrlhf_0_8.http", record({}, lambda url: requests.post(
    url=url + "/get_reward", json=rewards, headers={"Content-Type": "application/json"}, timeout=180)))
write("slime.http", record(1, post_aiohttp(
    "/rm", {"prompt": PROMPTS[0], "response": "It is \\boxed{18}.", "label": "18"}, 120)))
payload = json.dumps({"compile_timeout": 10, "run_timeout": 10, "code": "print(int(input()) + 1)", "stdin": "41",
                      "language": "python", "files": {}, "fetch_files": []})
write("verl.http", record({}, lambda url: requests.post(
    url + "/run_code", headers={"Content-Type": "application/json", "Accept": "application/json"}, data=payload, timeout=30)))

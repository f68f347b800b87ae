# Everything CI runs.
default:
    .ci/run

# Set up the environment that the other recipes use.
setup:
    python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[dev]'

format:
    .venv/bin/ruff format jobctl tests benchmarks chaos docs

lint:
    .venv/bin/ruff format --check jobctl tests benchmarks chaos docs
    .venv/bin/ruff check jobctl tests benchmarks chaos docs

types:
    .venv/bin/mypy

layers:
    .venv/bin/lint-imports

units:
    .ci/verify-units systemd/*.service

# For example: just test -k schedule
test *args:
    .venv/bin/pytest {{args}}

# Compare with peers, side by side; see benchmarks/README.md.
bench *args:
    .venv/bin/python -m benchmarks {{args}}

# Play faults against real daemons; see docs/explanation/chaos.md. For example: just chaos --fault 2 --seed 7
chaos *args:
    .venv/bin/python -m chaos {{args}}

# Load and random troubles for a long time; also chaos.restarts and chaos.survivors. For example: just soak --minutes 3 --seed 7
soak *args:
    .venv/bin/python -m chaos.soak {{args}}

completions:
    .venv/bin/jobctl completions bash > completions/jobctl.bash
    .venv/bin/jobctl completions zsh > completions/_jobctl
    .venv/bin/jobctl completions fish > completions/jobctl.fish

# Write the generated parts of docs/ anew.
docs:
    .venv/bin/python -m docs.generate

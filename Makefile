# The commands of this repository. `make demo` and `make test` need nothing started and nothing but
# git, make, gcc, python3 with pip, and Rust.
CARGO ?= cargo
# What `make demo` builds with; CI has a dev build at hand.
PROFILE ?= release
ORT := .ort/libonnxruntime.so
export ORT_DISABLE_TELEMETRY = 1

.PHONY: demo test train-test check fmt clippy doc bench sim models ort real wire-proto

demo: ort                ## Build, then show alerts as they appear (embedded store, simulated people).
	$(CARGO) build --profile $(PROFILE) --locked --bin intentd
	./target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/intentd demo

test: ort                ## Every test.
	ORT_DYLIB_PATH=$(CURDIR)/$(ORT) $(CARGO) test --locked

check: fmt clippy doc test

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

bench: ort               ## Figures as text and JSON; FILE=events.jsonl[.zst] measures another log.
	ORT_DYLIB_PATH=$(CURDIR)/$(ORT) $(CARGO) bench --locked --bench pipeline -- $(if $(FILE),--file $(FILE))

sim:                     ## The seeded simulations alone; SEED=n runs one seed.
	INTENTD_SIM_SEED=$(SEED) $(CARGO) test --locked --test it sim_ -- --nocapture

train-test:              ## Tests of the Python side: fetching the library, training, export (makes .venv).
	cd models && python3 -m unittest
	bash models/train/venv.sh
	cd models/train && ../../.venv/bin/python -m unittest

models: ort              ## Train the shipped models again from a simulated log.
	$(CARGO) build --release --locked --bin intentd
	bash models/train/make.sh

real: ort                ## The real logs, end to end: import, train, score, measure, hold to goals (skips what ../shared lacks).
	bash tests/real/run.sh

wire-proto:              ## Write the Rust of the KurrentDB protocol again, after src/wire/proto/*.proto was changed.
	$(CARGO) run -q --locked --manifest-path tools/wire-proto/Cargo.toml --target-dir target/tools

ort: $(ORT)
$(ORT): models/fetch_onnxruntime.py
	python3 models/fetch_onnxruntime.py --into .ort

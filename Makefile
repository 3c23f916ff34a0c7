# meshwg: `make` lists what can be done; `make test` needs nothing installed but
# Python, git, make and, as root, apt.

VENV     := .venv
# Distributions optimise their Python by profiles, which builds at home often are not:
# it is a fifth faster at carrying packets, so it is taken where it can be.
PYTHON   ?= $(shell /usr/bin/python3 -c \
    'import os, sys; assert sys.version_info >= (3, 11); os.getuid() and __import__("ensurepip")' \
    2>/dev/null && echo /usr/bin/python3 || echo python3)
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
CORE     := $(VENV)/.core
SCENARIO ?=
HOLD     ?=
MATRIX   ?= full
RUNS     ?= 1
NAME     ?=
PYTEST   ?=
SECONDS  ?= 600
SEED     ?= 1
EXAMPLES ?= 50
SCHEMATHESIS := $(VENV)/schemathesis/bin/schemathesis

CORE_SOURCES := $(shell find core -name target -prune -o -type f -print)

# What the namespace tests, the lab and the benchmarks use, from Debian.
DEBIAN_PACKAGES := bind9-dnsutils coturn dbus dnsmasq-base iperf3 iproute2 iputils-ping \
    hping3 miniupnpd-nftables nftables nmap openssh-client postgresql procps stun-client systemd tcpdump unbound \
    wireguard-go wireguard-tools zbar-tools zsh
# These would take over this machine's name servers or firewall, so they are not
# installed, nor are servers that others could reach, or what would manage its network.
DEBIAN_UNPACKED := libwrap0 openresolv openssh-server resolvconf systemd-resolved \
    ufw firewalld iptables python3-firewall python3-nftables python3-gi python3-dbus \
    python3-cap-ng libnftables1 gir1.2-glib-2.0 libgirepository-1.0-1 libip4tc2 libip6tc2 \
    libxtables12 nginx caddy haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 \
    tinyproxy-bin network-manager libndp0 docker.io containerd runc
# What the nodes of a cluster have beside Kubernetes. Installed, containerd would run, and
# take the place of Docker's own.
CLUSTER_UNPACKED := busybox-static conntrack containerd containernetworking-plugins \
    iptables libip4tc2 libip6tc2 libnetfilter-conntrack3 libnfnetlink0 libseccomp2 \
    libxtables12 runc tini

# What builds the packages, and looks at them.
PACKAGING_PACKAGES := debhelper dpkg-dev lintian mmdebstrap umoci

# Run a command of cargo's on the core, where cargo has it.
cargo = @if cargo $(1) --help >/dev/null 2>&1; then cd core && cargo $(1) $(2); fi

.DEFAULT_GOAL := help
.PHONY: help system install wheels packages format lint test test-kubernetes test-packages coverage fuzz fuzz-rest check lab lab-shell lab-clean bench clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

system: ## As root on Debian: install the packages the tests and the lab use
	@sh netns-lab/system-packages.sh $(DEBIAN_PACKAGES)
	@sh netns-lab/unpack-packages.sh $(VENV)/debian $(DEBIAN_UNPACKED)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh netns-lab/system-packages.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[coordinator,kubernetes,dev]'
	@touch $@

$(CORE): $(STAMP) $(CORE_SOURCES)
	@sh core/install.sh $(BIN)/pip $@

install: $(STAMP) $(CORE) ## Make the virtual environment .venv with everything in it

wheels: install ## Build what pip installs, into dist/
	RUSTFLAGS="--remap-path-prefix=$(CURDIR)=meshwg --remap-path-prefix=$(HOME)/.cargo=cargo" \
	    MATURIN_PEP517_ARGS='--compatibility pypi' PIP_CONSTRAINT=constraints.txt \
	    $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . ./core

packages: wheels ## Build the Debian package and the OCI images, into dist/ (as root)
	@sh netns-lab/system-packages.sh $(PACKAGING_PACKAGES)
	sh packaging/build-deb.sh
	sh packaging/build-images.sh

format: install ## Rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(call cargo,fmt,)

lint: install ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(call cargo,fmt,--check)
	$(call cargo,clippy,--quiet --locked --all-targets --all-features -- -D warnings)

test: system install ## Run every test (namespace tests only as root)
	$(call cargo,test,--quiet --locked)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-kubernetes: system install ## Test in a real cluster (needs Go; the first time builds it: 15 minutes)
	@sh netns-lab/unpack-packages.sh $(VENV)/debian $(CLUSTER_UNPACKED)
	$(BIN)/python netns-lab build
	$(BIN)/pytest -m kubernetes tests/cluster $(PYTEST)

test-packages: system install ## Install what 'make packages' built on a Debian of its own
	$(BIN)/pytest -m packages tests/packages $(PYTEST)

coverage: system install ## Run every test and report branch coverage
	$(BIN)/coverage run -m pytest $(PYTEST)
	$(BIN)/coverage report --skip-covered --sort=cover

fuzz: install ## Attack whole machines and live listeners (SECONDS=600 SEED=1)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

fuzz-rest: install ## Try the REST interface against its own description (EXAMPLES=50 SEED=1)
	@test -x $(SCHEMATHESIS) || $(PYTHON) -m venv $(VENV)/schemathesis
	$(VENV)/schemathesis/bin/pip install --quiet --disable-pip-version-check schemathesis==4.32.5
	$(BIN)/python -m tests.fuzz.rest --schemathesis $(SCHEMATHESIS) --examples $(EXAMPLES) --seed $(SEED)

check: lint test ## lint + test

lab: system install ## Run scenarios and NAT matrix (SCENARIO= MATRIX=quick|full RUNS= HOLD=yes)
	$(BIN)/python netns-lab run $(SCENARIO) --matrix $(MATRIX) --runs $(RUNS) $(if $(HOLD),--hold)

lab-shell: install ## Open a shell in a host of a running scenario (NAME=)
	$(BIN)/python netns-lab shell $(NAME)

lab-clean: install ## Remove what a killed lab left behind
	$(BIN)/python netns-lab clean

bench: system install ## Measure, side by side with the programs users compare with
	$(BIN)/python -m bench

clean: ## Remove the virtual environment and everything generated
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist netns-lab/report core/target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

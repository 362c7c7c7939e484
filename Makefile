# What people type. What `make test` consists of is in tests/run.py; the test node is in testbed/.

# The node's name: `make demo TESTBED=other` makes a second one beside the first.
TESTBED ?= demo
STATE := $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/openlsp.node

# A virtual environment is good for one set of pins and one place.
STAMP := .venv/made-for-$(shell { pwd; cat requirements-dev.txt; } | sha256sum | cut -c1-16)
LINK := .ansible/collections/ansible_collections/openlsp/node

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export TESTBED
# Of a checkout, whatever the caller has set for other work.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
unexport ANSIBLE_COLLECTIONS_PATH

# $(call step,what happens,command): says it, does it, says how long it took.
step = @echo "== $(1)"; start=$$(date +%s); $(2) && echo "   done in $$(($$(date +%s) - start)) s: $(1)"

.PHONY: help venv demo lint test test-long clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) $(LINK) ## make .venv with the pinned tools, and link the checkout where Ansible looks for collections

$(STAMP):
	@set -e; \
	supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	for python in python3 python3.13 python3.12 python3.11 none; do "$$python" -c "$$supported" 2>/dev/null && break; done; \
	if [ "$$python" = none ] || ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "== Install the Debian package python3-venv"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null; \
	  python=/usr/bin/python3; "$$python" -c "$$supported"; \
	fi; \
	start=$$(date +%s); \
	echo "== Make the virtual environment with $$("$$python" --version) (two to five minutes, 1 GB)"; \
	rm -rf .venv; \
	"$$python" -m venv .venv; \
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt; \
	touch $@; \
	echo "   done in $$(($$(date +%s) - start)) s: Make the virtual environment"

$(LINK):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

demo: venv ## build the test node, start it, make it a Lightning node on regtest, and pay an invoice
	$(call step,Build the parts of the test node,python testbed/build.py)
	$(call step,Start the node $(TESTBED),ansible-playbook testbed/create.yml)
	$(call step,Make it a Lightning node,ansible-playbook site.yml -i inventories/demo)
	$(call step,Pay an invoice,ansible-playbook testbed/payment.yml -i inventories/demo)
	@printf '%s\n' '' \
	  'The node "$(TESTBED)" runs. To work with it:' \
	  '  . .venv/bin/activate' \
	  '  export PATH=$(or $(OPENLSP_CACHE),$(HOME)/.cache/openlsp.node)/bin:$$PATH     # kubectl, lncli' \
	  '  export TESTBED=$(TESTBED) KUBECONFIG=$(STATE)/$(TESTBED)/kubeconfig' \
	  '  ansible-playbook site.yml -i inventories/demo     # changes nothing: it is as wanted' \
	  'To stop it: ansible-playbook testbed/destroy.yml. To remove everything that was made: make clean.'

lint: venv ## the quick checks: no node, about two minutes
	@python tests/run.py unit lint docs changelog

test: venv ## every check, also on a real node; the last line counts them
	@python tests/run.py

test-long: venv ## what does not fit into `make test`
	@python tests/run.py --long

clean: ## remove what demo and test made: nodes, virtual environment, state and caches
	@set -e; \
	for node in $$(ls "$(STATE)" 2>/dev/null); do \
	  $(MAKE) --no-print-directory venv; \
	  echo "== Destroy the node $$node"; TESTBED=$$node ansible-playbook testbed/destroy.yml; \
	done; \
	python3 testbed/build.py --clean; \
	rm -rf "$(STATE)" .venv .ansible .hypothesis .pytest_cache tests/output "$${TMPDIR:-/tmp}"/openlsp.node-test-*; \
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

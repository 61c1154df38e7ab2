#!/bin/sh
# layers/build.sh runtime|airflow DIR: what the layer holds, for Lambda's Python 3.12 on arm64, into DIR/python.
# layers/build.sh web DIR: Airflow's web UI from the same wheels, and Swagger UI from powertools', into DIR/web.
# layers/build.sh builder DIR: uv, into DIR/bin, which is on the PATH of functions.
# sam build calls it through the Makefiles; wheels alone, so that any machine can build for that one.
set -eu

layer=$1
platform=${LAYER_PLATFORM:-aarch64-manylinux_2_28} # another one to try a layer on this machine; with uv only
destination=$2
out=$destination/python
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
swagger=aws_lambda_powertools/event_handler/openapi/swagger_ui

main() {
    if [ "$layer" = web ]; then
        fill_web
        check_size
        return
    fi
    mkdir -p "$out"
    install "$root/requirements/layer-$layer.txt"
    if [ "$layer" = builder ]; then
        keep_uv
        check_size
        return
    fi
    "fill_$layer"
    find "$out" -depth -type d \( -name __pycache__ -o -name tests -o -name test \) -path '*/*' -exec rm -rf {} +
    find "$out" -name '*.pyi' -delete
    rm -rf "$out/bin"
    compile
    check_size
}

# /opt is read-only, so what is not compiled here is compiled by every new function environment: more than half of the time
# that importing Airflow takes. Unchecked: nothing in a layer is ever edited, and times of files do not survive zipping.
compile() {
    python=$(python_of_lambda) || {
        echo "layers/build.sh: there is no Python 3.12, on the PATH or in .venv: Lambda's cannot use another one's bytecode" >&2
        exit 1
    }
    # Some packages bring files of other Pythons; what a function imports is compiled, or its tests would not have passed.
    "$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$destination" -p /opt "$out" >/dev/null || true
    [ -n "$(find "$out" -name '*.cpython-312.pyc' -print -quit)" ] || { echo "nothing was compiled" >&2; exit 1; }
}

# A version manager's python3.12 may be on the PATH and not run.
python_of_lambda() {
    for candidate in python3.12 "$root/.venv/bin/python"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Gust itself, without what only this machine's side of it needs. In the second of the folders that Lambda has on the path
# of a layer: where it is alone, the modules of a DAG folder can come before it (gust/airflow_bridge/surroundings.py).
fill_runtime() {
    alone=$out/lib/python3.12/site-packages
    mkdir -p "$alone"
    cp -R "$root/shared/gust" "$alone/gust"
    sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml" >"$alone/gust/VERSION"
    pins "$root/requirements/layer-airflow.txt" "$root/requirements/layer-runtime.txt" >"$alone/gust/PINS"
    python3 "$root/layers/runtime/endpoints.py" "$out/botocore/data/endpoints.json" "$alone/gust/ENDPOINTS"
    rm -rf "$alone/gust/local" "$alone/gust/cli" "$alone/gust/workbench"
    rm -f "$out/$swagger/"*.js "$out/$swagger/"*.css # layer web has them
}

# The versions that no environment moves, as gust/services/deployments/pins.py reads them from the locks of a checkout.
pins() {
    sed -nE 's/^([A-Za-z0-9._-]+==[^ ;\]+)(( ; [^\]+)?).*/\1\2/p' "$@" | sed 's/ *$//' | LC_ALL=C sort -u
}

# One binary; the Python package around it only finds it.
keep_uv() {
    mkdir -p "$destination/bin"
    mv "$out/bin/uv" "$destination/bin/uv"
    rm -rf "$out"
    out=$destination/bin
}

# Lambda takes 250 MB of layers and function together, unpacked. What goes: the runtime layer's packages, which are
# there already; the web UI; and servers, exporters and their dependencies that no task and no parse ever imports.
fill_airflow() {
    for name in $(names "$root/requirements/layer-runtime.txt"); do
        drop "$name"
    done
    for name in uvloop httptools grpcio opentelemetry-exporter-otlp-proto-grpc; do
        drop "$name"
    done
    mkdir -p "$destination/bin" # /opt/bin: first on the PATH of tasks
    cp "$root/layers/airflow/bin/"* "$destination/bin"
    rm -rf "$out/airflow/ui/dist" "$out/airflow/api_fastapi/auth/managers/simple/ui/dist" "$out/airflow/example_dags"
    find "$out/airflow/providers" -depth -type d -name example_dags -exec rm -rf {} +
    # Months and currencies of 800 languages: Airflow's only use is colours of log lines in English.
    find "$out/babel/locale-data" -name '*.dat' ! -name 'en*' ! -name root.dat -delete 2>/dev/null || true
}

# What is packed are the files of Airflow itself and its providers, in the versions that run the tasks; and Swagger UI, which
# powertools brings, to show the REST API's contract, which PyYAML reads.
fill_web() {
    web=$destination/web
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    mkdir -p "$web"
    awk '/^[^ #]/ { wanted = /^(apache-airflow(-core|-providers-[a-z0-9-]*)|pyyaml|aws-lambda-powertools)==/ } wanted' \
        "$root/requirements/layer-airflow.txt" "$root/requirements/layer-runtime.txt" >"$unpacked/requirements.txt"
    out=$unpacked/python
    install "$unpacked/requirements.txt"
    out=$web
    python3 "$root/layers/web/pack.py" "$unpacked/python/airflow" "$unpacked/python/$swagger" "$web"
}

install() {
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --target "$out" --python-version 3.12 --python-platform "$platform" \
            --only-binary :all: --no-deps --require-hashes -r "$1"
    else
        python3 -m pip install --quiet --disable-pip-version-check --target "$out" --python-version 3.12 \
            --implementation cp --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
            --only-binary :all: --no-deps --require-hashes -r "$1"
    fi
}

# drop NAME: a distribution's files, as its own record lists them.
drop() {
    for record in "$out/$(echo "$1" | tr '.-' '__')"-[0-9]*.dist-info/RECORD; do
        [ -f "$record" ] || continue
        cut -d, -f1 "$record" | while read -r file; do
            case $file in ../* | /*) ;; *) rm -f "$out/$file" ;; esac
        done
        rm -rf "$(dirname "$record")"
    done
    find "$out" -depth -type d -empty -delete
}

names() {
    sed -n 's/^\([A-Za-z0-9._-]*\)==.*/\1/p' "$1"
}

# Of this layer alone. What one function gets of them all, `./gust deploy` adds up (gust/cli/layers.py).
check_size() {
    megabytes=$(du -sm --apparent-size "$out" 2>/dev/null | cut -f1)
    echo "layer $layer: ${megabytes:-?} MB" >&2
}

main

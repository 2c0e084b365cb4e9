"""`kapps serve`: published models behind TensorFlow Serving's protocols.

The server's own process never loads TensorFlow. It reads requests, finds the version that is meant
and puts them into that version's queue; a worker process per version decodes, computes and encodes.
So whatever a request does to TensorFlow, it does to a worker, which is replaced.

    run.py         the process: options, signals, HTTP and gRPC in one event loop
    http_app.py    routes: REST v1 of TensorFlow Serving, V2 (Open Inference), health, the page
    openapi.py     what the routes are, for clients that are made of that
    connections.py uvicorn's connections, with limits
    grpc_app.py    PredictionService and ModelService
    catalogue.py   models under the root: which versions are there, loaded, drained
    served.py      one version: its queue and its workers
    protocols/     bytes of a request -> arrays, and back
    work/          worker processes
        workers.py     forked from a nursery that has TensorFlow imported already
        nursery.py     what they are forked from
        worker.py      what runs in them
        engines.py     TensorFlow, or ONNX Runtime where it answers the same
        execution.py   requests in batches through the signatures
        frames.py      messages between server and worker
    metrics.py     Prometheus' text format
    page/          what a browser gets at `/`
"""

"""What lies where in the folders that the steps of the task catalogue hand to each other.

Preprocess output:   train.jsonl, validation.jsonl, test.jsonl, dataset_info.json, report.html (the data's)
                     train.arrow, validation.arrow, tokens.html, tokenizer/, pretrained_model/, head.json,
                     preprocess_args.json (written last)
Fine-tune output:    the model folder of docs/model-folder.md: weights or adapter, tokenizer, head.json, config.json,
                     model.onnx where `apply_ort`, training_log.jsonl, finetune_args.json, preprocess_args.json,
                     checkpoints/checkpoint-N/, training_info.json (written last)
Inference output:    predictions.txt, predictions.jsonl, metadata.json (written last)
Evaluation output:   evaluation.json (written last), predictions.jsonl, report.html, report.md
"""

PREPROCESS_ARGS_FILE = "preprocess_args.json"
FINETUNE_ARGS_FILE = "finetune_args.json"
TOKENIZER_FOLDER = "tokenizer"
PRETRAINED_FOLDER = "pretrained_model"
CHECKPOINTS_FOLDER = "checkpoints"
ONNX_FILE = "model.onnx"
ONNX_INT8_FILE = "model.int8.onnx"
ONNX_INFO_FILE = "onnx.json"
"""How the export was checked: session, equality with PyTorch, and whether int8 passed its gate."""
PREDICTIONS_TEXT_FILE = "predictions.txt"
PREDICTIONS_FILE = "predictions.jsonl"
METADATA_FILE = "metadata.json"

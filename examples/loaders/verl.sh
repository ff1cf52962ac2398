# Reads the run folder itself. Without data.custom_cls verl trains on the errors.
torchrun --standalone --nproc_per_node=1 -m verl.trainer.sft_trainer \
  data.train_files=runs/first \
  data.custom_cls.path=examples/verl_dataset.py data.custom_cls.name=MaskedTrajectories \
  data.max_length=8192 data.pad_mode=no_padding \
  model.path=Qwen/Qwen2.5-0.5B-Instruct

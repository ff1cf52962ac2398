# Reads the folder data, which holds the export. Unless dataset_split is set, SkyRL takes the first 100 rows.
python -m skyrl.train.main_sft \
  model.path=Qwen/Qwen2.5-0.5B-Instruct \
  dataset_name=data dataset_split=train \
  train_on_what=last_assistant_message \
  max_length=8192

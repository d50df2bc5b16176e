"""What users of other frameworks have suffered from, and the tests that would have caught it here.

The numbers are those of public issues and pull requests. `slow` tests run with `make proofs`.
"""

import pytest

from .test_published_numbers import ROOT, functions

CAUGHT: dict[str, tuple[str, ...]] = {
    # DeepSpeed#2223, #7844, #7044, OpenRLHF#670
    "ranks wait for each other because some have fewer batches": (
        "llama_gpt4/test_batches.py::test_any_ranks_and_micro_steps_share_the_same_windows",
        "llama_gpt4/test_batches.py::test_evaluation_has_each_example_once_and_is_the_mean_over_targets",
        "llama_gpt4/test_batches.py::test_a_batch_is_whole_examples_with_their_answers_as_targets",
        "data_gen/test_reward_batches.py::test_a_rank_without_prompts_runs_along",
        "distributed/test_exactness.py::test_loss_and_gradients_do_not_depend_on_the_split",
    ),
    # DeepSpeed#3841, #3820, transformers#34534, #25817, FastChat#1457
    "a ZeRO-3 model is saved with empty weights, twice, or by way of all memory": (
        "llama_gpt4/test_export.py::test_shards_and_index_hold_every_weight_once",
        "llama_gpt4/test_export.py::test_exporting_takes_a_few_pieces_of_memory",
        "llama_gpt4/test_export.py::test_a_trained_models_export_is_our_model",
        "llama_gpt4/test_staging.py::test_it_takes_twelve_bytes_an_element_and_takes_them_at_once",
    ),
    # transformers#35203, torchtune#1875, #1917, OpenRLHF#1337, nanochat#59
    "the loss depends on how a batch is accumulated": (
        "llama_gpt4/test_batches.py::test_the_loss_does_not_depend_on_how_a_window_is_split",
        "distributed/test_exactness.py::test_loss_and_gradients_do_not_depend_on_the_split",
        "data_gen/test_reward_batches.py::test_loss_and_gradient_do_not_depend_on_the_split",
    ),
    # trl#1230, #805, #3067, #3526, torchtune#892, LLaMA-Factory#4224, OpenRLHF#377
    "packed examples see each other, or positions go on": (
        "llama_gpt4/test_batches.py::test_a_batch_is_whole_examples_with_their_answers_as_targets",
        "llama_gpt4/test_model.py::test_a_packed_document_is_what_it_is_alone",
        "llama_gpt4/test_model.py::test_a_neighbour_changes_nothing",
        "llama_gpt4/test_model.py::test_logits_loss_and_every_gradient_are_hugging_faces",
        "kernels/test_packed_attention.py::test_flash_attention_keeps_documents_apart_and_the_future_out",
        "kernels/test_packed_attention.py::test_equals_one_call_a_document",
        "llama_gpt4/test_hub_attention.py::test_documents_are_what_they_are_alone",
    ),
    # DeepSpeed#2898, #3810, #2921, #5405, ms-swift#3989, pytorch-lightning#19585
    "a run does not resume on another number of GPUs": (
        "distributed/test_world_sizes.py::test_the_state_is_what_four_processes_saved",
        "distributed/test_resume.py::test_resumed_on_other_numbers_of_processes_it_follows_to_rounding",
        "distributed/test_resume.py::test_one_process_becomes_two",
    ),
    # accelerate#4071, #2016, #4295, transformers#11284, #8876
    "a resumed run sees other data, or skips through them for hours": (
        "llama_gpt4/test_batches.py::test_a_step_is_found_without_those_before_it",
        "data_gen/test_reward_batches.py::test_a_step_is_a_pure_function_of_its_number",
        "distributed/test_resume.py::test_resumed_on_as_many_processes_it_is_equal_bit_for_bit",
        "distributed/test_soak.py::test_on_as_many_processes_the_weights_are_those_of_an_undisturbed_run",
    ),
    # stanford_alpaca#126, unsloth#416, DeepSpeedExamples#819
    "the end of an answer is masked as a pad, or tokenised as text": (
        "llama_gpt4/test_prepare.py::test_only_the_answer_and_its_end_are_learned",
        "llama_gpt4/test_prepare.py::test_an_adversarial_answer_is_learned_to_the_letter",
        "llama_gpt4/test_prepare.py::test_an_example_is_used_whole_or_not_at_all",
        "llama_gpt4/test_conversations.py::test_training_sees_the_ids_that_the_chat_will_ask",
        "llama_gpt4/test_tokenizer.py::test_bos_and_eos_must_exist_and_differ",
        "llama_gpt4/test_audit.py::test_each_fault_is_found_where_it_is",
    ),
    # LLaMA-Factory#2424, #956, #360, #1196, axolotl#921
    "a collective runs out of time while data are tokenised": (
        "llama_gpt4/test_run.py::test_no_process_group_waits_while_data_are_prepared",
        "llama_gpt4/test_prepare.py::test_concurrent_starts_build_once",
    ),
    # LLaMA-Factory#3939, #903, #3090, #3045, #7981, MiniCPM-V#914
    "data are tokenised at every start, or an old cache is believed": (
        "llama_gpt4/test_prepare.py::test_a_warm_start_loads_no_tokenizer",
        "llama_gpt4/test_prepare.py::test_concurrent_starts_build_once",
        "llama_gpt4/test_prepare.py::test_the_key_changes_with_any_input_byte",
        "llama_gpt4/test_prepare.py::test_the_key_changes_with",
        "llama_gpt4/test_prepare.py::test_the_key_changes_with_the_tokenizers_bytes",
        "llama_gpt4/test_prepare.py::test_the_key_changes_with_the_code",
        "llama_gpt4/test_prepare.py::test_a_killed_build_leaves_nothing_that_the_next_start_believes",
    ),
    # FAI-RL#66, #68, DeepSpeedExamples#498, CoLLiE#98
    "every rank loads the whole model into memory": (
        "distributed/test_loading.py::test_all_ranks_together_need_less_than_one_model_of_memory",
        "distributed/test_loading.py::test_a_rank_reads_its_own_slices_and_the_headers",
    ),
    # transformers#28872, safe-rlhf#128, trl#3087
    "memory runs out in the middle of a training": (
        "llama_gpt4/test_batches.py::test_a_batch_is_whole_examples_with_their_answers_as_targets",
        "llama_gpt4/test_batches.py"
        "::test_no_micro_batch_of_single_examples_is_larger_than_the_first",
        "llama_gpt4/test_packing.py::test_52_002_examples_fill_rows_of_2048_to_99_7_percent",
        "llama_gpt4/test_packing.py::test_the_order_changes_which_examples_meet_but_not_the_shape_of_rows",
        "distributed/test_exactness.py::test_gpu_memory_grows_in_place",
        "launch/test_plan_data.py::test_the_longest_bound_a_padded_micro_batch",
        "llama_gpt4/test_room.py::test_a_full_gpu_is_one_line_with_what_makes_room",
    ),
    # DeepSpeed#5721, dlrover#836, speculators#739, pytorch-lightning#688
    "a save stalls the training, or a crash leaves half a checkpoint as the latest": (
        "llama_gpt4/test_saver.py::test_training_goes_on_while_a_checkpoint_is_written",
        "llama_gpt4/test_metrics.py::test_lines_of_a_real_run",
        "llama_gpt4/test_publication.py::test_a_kill_at_any_point_leaves_a_good_checkpoint",
        "llama_gpt4/test_publication.py::test_after_a_kill_the_next_save_goes_through_and_nothing_is_left",
        "distributed/test_killed_saves.py::test_a_process_is_killed_in_a_save",
        "distributed/test_resume.py::test_checkpoints_that_are_no_good_are_passed_over",
    ),
    # Automodel#405, #3007, prime-rl#2664, spd#741, transformers#41723
    "a preempted run has saved nothing": (
        "distributed/test_preemption.py::test_all_save_one_step_and_the_next_start_goes_on_there",
        "distributed/test_resume.py::test_sigterm_saves_and_the_same_command_goes_on",
        "distributed/test_launchers.py::test_sigterm_while_data_are_prepared",
        "distributed/test_launchers.py::test_sigterm_while_the_processes_start",
    ),
    # trl#6668, #1173, ColossalAI#5370, LLaMA-Factory#482
    "nothing is learned, or NaN is, and nobody notices": (
        "llama_gpt4/test_data_config.py::test_what_cannot_be_learned_cannot_be_kept",
        "llama_gpt4/test_model.py::test_a_rank_without_targets_still_has_every_gradient",
        "kernels/test_linear_cross_entropy.py::test_no_target_gives_zero_and_still_a_gradient",
        "e2e/test_bad_input.py::test_a_loss_that_is_not_finite_stops_before_the_update",
        "llama_gpt4/test_loop.py::test_a_gradient_that_is_not_finite_ends_the_run_and_is_not_saved",
        "llama_gpt4/test_config.py::test_a_value_out_of_bounds_is_refused_by_its_key",  # float16
    ),
    # DeepSpeed#1800, #2768, #2352, #5158, #4298, #1488, #966, gpt-neox#1004
    "ZeRO stages disagree, or gradients are summed in bfloat16": (
        "distributed/test_exactness.py::test_loss_and_gradients_do_not_depend_on_the_split",
        "distributed/test_exactness.py::test_every_stage_follows_the_same_curve",
        "distributed/test_exactness.py::test_zero3_follows_a_plain_pytorch_loop",
        "llama_gpt4/test_deepspeed_config.py::test_gradients_are_summed_in_float32_and_kept_as_they_are_where_nothing_is_summed",
    ),
    # DeepSpeed#4025, #6658, LLaMA-Factory#2239
    "a checkpoint becomes a model only where all of it fits into memory": (
        "llama_gpt4/test_export.py::test_exporting_takes_a_few_pieces_of_memory",
        "llama_gpt4/test_safetensors_file.py::test_writing_needs_no_memory_for_whole_tensors",
    ),
    # axolotl#2610, transformers#40500
    "a checkpoint is a pickle that a newer PyTorch does not open": (
        "llama_gpt4/test_saver.py::test_training_goes_on_while_a_checkpoint_is_written",
        "llama_gpt4/test_weights.py::test_a_pickle_never_runs_code",
    ),
    # apps#9, trlx#376, DeepSpeed#1306, ms-swift#9351, transformers#12021
    "DeepSpeed is told something else than the rest of the run": (
        "llama_gpt4/test_deepspeed_config.py::test_the_derived_configuration_is_the_golden_one",
        "llama_gpt4/test_deepspeed_config.py::test_a_users_setting_that_contradicts_names_both_sides",
    ),
    # unsloth#10452, Soup#627
    "a misspelled key is ignored": (
        "llama_gpt4/test_compose.py::test_a_mistake_is_one_line_that_names_the_key",
        "test_architecture.py::test_every_key_is_read",
    ),
    # trl#937, DeepSpeedExamples#316, #322, #338, #479, #672, gpt-neox#1285
    "a reward is read at the wrong token": (
        "data_gen/test_reward_model.py::test_the_last_token_is_the_one_that_is_read",
        "data_gen/test_reward_model.py::test_pads_change_nothing",
        "data_gen/test_reward_model.py::test_neighbours_change_nothing",
    ),
    # trl#3368, #5891, #6372, #6384, #6859, Liger-Kernel#827, #767, #1048
    "fused operators go wrong under ZeRO-3, or do not run": (
        "distributed/test_recompute.py::test_fused_operators_train_as_the_reference_does",
        "kernels/test_selection.py::test_nothing_falls_back",
    ),
    # nccl#1063, #1260, #1324
    "a hang names nobody": (
        "distributed/test_hangs.py::test_a_rank_that_sleeps_is_named_with_its_stack",
    ),
    # open-instruct#1032, Megatron-Bridge#4366, nanoGPT#527
    "FLOPs are not those that are done": (
        "llama_gpt4/test_model.py::test_model_flops_are_what_the_operators_do",
    ),
    # wandb#8428, #335, #5979
    "a restart is another run to W&B": (
        "llama_gpt4/test_tracker.py::test_offline_with_the_same_id_after_a_restart",
    ),
    # Chinese-LLaMA-Alpaca#232, #281, llms_tool#65
    "a larger vocabulary moves old ids, or does not fit the embedding": (
        "llama_gpt4/test_vocabulary.py::test_a_text_without_a_new_piece_keeps_its_ids",
        "llama_gpt4/test_vocab.py::test_a_tokenizer_of_another_model_is_refused",
    ),
    # alpaca_eval#115, distilabel#1014, prompt2model#370
    "paid answers are lost, or paid twice": (
        "data_gen/test_interruptions.py::test_twenty_kills_lose_nothing_and_send_again_only_what_was_in_flight",
    ),
}


@pytest.mark.parametrize("fault", CAUGHT)
def test_what_would_have_caught_it_is_there(fault: str) -> None:
    for test in CAUGHT[fault]:
        file, _, name = test.partition("::")
        assert name in functions(ROOT / file), test

/* Names that people bring along from verl, TRL, OpenRLHF, NeMo-RL, prime-rl, slime and
 * transformers. */
#include "config_names.h"

#include <stddef.h>

// clang-format off
const struct config_name config_names[] = {
    /* the loss */
    {"clip_ratio_low cliprange_low eps_clip_low", "algorithm.surrogate.clip_low", NULL},
    {"clip_ratio_high cliprange_high epsilon_high eps_clip_high", "algorithm.surrogate.clip_high", NULL},
    {"clip_ratio cliprange eps_clip epsilon clip_range clip_eps", "algorithm.surrogate.clip_low", "the band has two sides: set clip_low and clip_high"},
    {"kl_coef kl_loss_coef beta init_kl_coef kl_beta kl_penalty_coef", "algorithm.kl", "pick the kind of KL with algorithm.kl=NAME; its coefficient is an option of that entry"},
    {"kl_type kl_loss_type kl_penalty kl_estimator use_kl_loss use_kl_in_reward use_kl_estimator_k3", "algorithm.kl", "one axis: kind of estimator, in the loss or in the reward"},
    {"entropy_coef entropy_coeff ent_coef entropy_loss_coef entropy_bonus", "entropy", "an entropy method with a coefficient: carnot config list entropies"},
    {"loss_agg_mode loss_agg loss_aggregation token_level_loss normalize_loss_by", "algorithm.aggregation", NULL},
    {"loss_type policy_loss policy_loss_type loss_fn loss_mode", "algorithm", "a row that names one entry per axis; the loss per token is algorithm.surrogate"},
    {"adv_estimator advantage_estimator norm_adv_by_std_in_grpo scale_rewards normalize_advantages use_rloo", "algorithm.advantage", NULL},
    {"importance_sampling_level", "algorithm.ratio", NULL},
    {"tis_imp_ratio_cap vllm_importance_sampling_cap vllm_importance_sampling_correction rollout_is rollout_is_threshold use_tis tis", "algorithm.correction", NULL},
    {"filter_groups dynamic_filtering dynamic_sampling use_dynamic_sampling filter_zero_std", "algorithm.sampling", NULL},
    {"overlong_buffer overlong_buffer_len overlong_penalty soft_overlong_punishment", "algorithm.shaping", NULL},
    {"critic value_model vf_coef value_loss_coef critic_pretrain", "algorithm.critic", NULL},
    /* sizes */
    {"n group_size num_generations n_samples_per_prompt num_samples_per_prompt rollout_n samples_per_prompt num_generations_per_prompt", "train.samples", NULL},
    {"train_batch_size rollout_batch_size gen_batch_size num_prompts_per_step prompts_per_step batch_size generation_batch_size", "train.prompts", "counts prompts; sequences per step are train.prompts x train.samples"},
    {"ppo_mini_batch_size mini_batch_size train_global_batch_size num_mini_batches global_batch_size", "train.mini_batches", "how many optimizer steps a rollout is cut into, not the size of one"},
    {"ppo_micro_batch_size ppo_micro_batch_size_per_gpu micro_batch_size micro_train_batch_size per_device_train_batch_size gradient_accumulation_steps train_micro_batch_size ppo_max_token_len_per_gpu max_tokens_per_gpu", "update.atom_tokens", "changes memory only, never the loss"},
    {"ppo_epochs num_iterations max_epochs num_ppo_epochs", "train.epochs", NULL},
    {"total_training_steps max_steps num_rollout num_episodes total_epochs num_train_epochs total_steps max_num_steps", "train.steps", "counts rollout steps"},
    {"max_prompt_length max_prompt_len prompt_max_len max_input_length", "data.max_prompt_tokens", NULL},
    {"max_response_length max_response_len max_completion_length generate_max_len max_new_tokens max_gen_len response_length rollout_max_response_len", "rollout.max_tokens", NULL},
    {"filter_overlong_prompts truncation filter_prompts_by_length", "data.over_long", NULL},
    /* the optimizer */
    {"learning_rate actor_learning_rate actor_lr policy_lr", "optimizer.lr", NULL},
    {"lr_scheduler_type lr_scheduler lr_decay_style warmup_style", "optimizer.schedule", NULL},
    {"lr_warmup_steps num_warmup_steps lr_warmup_steps_ratio warmup_ratio lr_warmup_ratio", "optimizer.warmup_steps", "a number of rollout steps, not a ratio"},
    {"max_grad_norm grad_clip clip_grad max_norm gradient_clipping clip_grad_norm", "optimizer.clip_norm", NULL},
    {"adam_betas adam_beta1 adam_beta2 adam_betas_1", "optimizer.betas", NULL},
    {"adam_epsilon adam_eps", "optimizer.epsilon", NULL},
    {"optim optimizer_type", "optimizer.type", NULL},
    {"gradient_checkpointing enable_gradient_checkpointing activation_checkpointing recompute_granularity", "update.checkpoint_activations", "same bits with and without"},
    /* sampling */
    {"sampling_temperature rollout_temperature", "rollout.temperature", NULL},
    {"stop_sequences stop_strings stop_token_ids", "rollout.stop", NULL},
    {"max_num_seqs num_workers max_concurrent", "rollout.slots", NULL},
    {"mismatch_threshold rollout_probs_diff", "rollout.mismatch_stop", NULL},
    /* run, model, data */
    {"save_freq save_steps save_every save_interval save_period", "checkpoint.every", NULL},
    {"save_total_limit max_actor_ckpt_to_keep max_ckpt_num keep_top_k", "checkpoint.keep", NULL},
    {"test_freq eval_steps eval_every eval_interval val_period", "eval.every", NULL},
    {"val_before_train eval_on_start", "eval.every", "step 0 and the end are always evaluated"},
    {"resume_mode resume_from_checkpoint load_checkpoint load_checkpoint_path resume_from_path resume_step", "run.resume", NULL},
    {"experiment_name run_name wandb_run_name exp_name", "run.name", NULL},
    {"output_dir default_local_dir save_path ckpt_path checkpoint_dir project_name log_dir", "run.dir", NULL},
    {"random_seed data_seed", "run.seed", NULL},
    {"model_name_or_path pretrain partial_pretrain model_name hf_checkpoint policy_model", "model.path", NULL},
    {"torch_dtype precision bf16 fp16", "model.dtype", NULL},
    {"ref_model ref_policy reference_model ref_pretrain ref_load", "model.frozen", NULL},
    {"train_files prompt_data dataset_name train_data train_dataset data_path", "data.train", NULL},
    {"val_files eval_dataset test_files validation_data eval_prompt_data", "data.eval", NULL},
    {"chat_template apply_chat_template", "data.template", NULL},
    {"system_prompt system_message", "data.system", NULL},
    {"reward_funcs custom_reward_function reward_fn reward_model rm_type reward_pretrain remote_rm_url", "rewards", NULL},
    {"reward_weights", "rewards.0.weight", "one weight per item of the list"},
    {"env_name environment env_class environment_id", "env", NULL},
    {NULL, NULL, NULL},
};
// clang-format on

from rmjax.scoring.stage_two import reward_function as reward_function

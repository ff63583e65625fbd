redis.register_function('fl_credit', credit)
redis.register_function('fl_debit', debit)
redis.register_function('fl_refund', refund)
redis.register_function('fl_chargeback', chargeback)
redis.register_function('fl_freeze', freeze)
redis.register_function('fl_adjust', adjust)
redis.register_function('fl_reverse', reverse)
redis.register_function('fl_remember', remember)
redis.register_function('fl_recall', recall)
redis.register_function('fl_grant', grant)
redis.register_function('fl_limit', limit)
redis.register_function('fl_hold', hold)
redis.register_function('fl_capture', capture)
redis.register_function('fl_release', release)
redis.register_function('fl_restore', restore)
redis.register_function('fl_open', open)
redis.register_function('fl_tick', tick)
redis.register_function('fl_pause', pause)
redis.register_function('fl_resume', resume)
redis.register_function('fl_close', close)
redis.register_function{ function_name = 'fl_balance', callback = balance, flags = { 'no-writes' } }
redis.register_function{ function_name = 'fl_allowance', callback = allowance, flags = { 'no-writes' } }
redis.register_function{ function_name = 'fl_look', callback = look, flags = { 'no-writes' } }
redis.register_function{ function_name = 'fl_overdue', callback = overdue, flags = { 'no-writes' } }

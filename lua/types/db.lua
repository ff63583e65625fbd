---@meta runtime.db
--- MariaDB, over a bounded pool of connections. Everything here waits. Values are always bound, never
--- written into the text; a statement is prepared once for each connection. All functions may be called
--- with a dot or with a colon.
---
--- Times are UTC texts, "2026-11-24 10:00:00.123456"; DECIMAL and integers beyond 64 signed bits are texts
--- too. A column that is NULL is absent from its row. `affected` counts rows that changed, not those
--- that merely matched.
local db = {}

---@alias db_value string|number|boolean|nil|userdata
---@alias db_row table<string, string|number>

--- What is raised. tostring() gives a sentence.
---@class db_error
---@field kind "sql"|"unavailable"|"busy"|"timeout"|"lost"|"limit"
---@field code integer of the server (1062, 1213 …), 0 if it was not the server
---@field sqlstate string
---@field message string
---@field duplicate boolean a unique key refused it
---@field retryable boolean a deadlock or a lock that did not come: the whole transaction may be tried again

--- NULL, where a nil would be inconvenient.
---@type userdata
db.null = nil

--- All rows, at most 50,000 and 32 MiB of them.
---@param sql string
---@param ... db_value
---@return db_row[]
function db.rows(sql, ...) end

--- The row, or nil. More than one row is an error.
---@param sql string
---@param ... db_value
---@return db_row|nil
function db.one(sql, ...) end

---@param sql string
---@param ... db_value
---@return integer affected, integer insert_id
function db.exec(sql, ...) end

--- `for row in db.each("SELECT …", …) do … end`: any number of rows in little memory. The loop holds a
--- connection until it ends; leaving it early ends the statement.
---@param sql string
---@param ... db_value
---@return fun(): db_row|nil
function db.each(sql, ...) end

---@class db_transaction
---@field rows fun(sql: string, ...: db_value): db_row[]
---@field one fun(sql: string, ...: db_value): db_row|nil
---@field exec fun(sql: string, ...: db_value): integer, integer
---@field after_commit fun(todo: fun()) what must not happen unless, and not before, it is committed

--- Commits when fn returns, and returns what fn returned. Rolls back when fn raises, its coroutine is
--- cancelled or the connection is lost, and raises that. With retries a transaction that lost a deadlock
--- is done again from its beginning, so fn must not have other effects.
---@param fn fun(tx: db_transaction): ...
---@param options? { retries?: integer }
---@return any ...
function db.transaction(fn, options) end

--- A connection of one's own without a transaction, for GET_LOCK and the like. It is closed afterwards.
---@param fn fun(tx: db_transaction): ...
---@return any ...
function db.session(fn) end

--- False while the server cannot be reached: requests then fail at once with "unavailable".
---@return boolean
function db.ready() end

--- For connections from db.open; on the shared one it does nothing.
function db.close() end

--- The same reads from the replica of the settings (mariadb.replica), or from the main server while there is
--- none or it does not answer. A replica lags: what this request has written may not be there yet.
---@type { rows: fun(sql: string, ...: db_value): table[], one: (fun(sql: string, ...: db_value): table?), each: function, ready: fun(): boolean }
db.replica = {}

--- For commands and tests: the same functions for another user or database of the settings' server. Use
--- it as `local admin <close> = db.open { … }`. database = false selects none.
---@param options { name?: string, user?: string, password?: string, database?: string|false, limit_ms?: integer }
---@return runtime.db
function db.open(options) end

return db

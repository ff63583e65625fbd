--- Which statements a request made: for the error page of developers, and nowhere else.
--
-- In development the functions of runtime.db are put behind ones that write the statement down for the
-- coroutine that runs it. Parameters are not written down: passwords and addresses are among them.
local queries = {}

local MOST = 100

local lists = setmetatable({}, { __mode = "k" }) -- coroutine → list
local watching = false

local function note(sql)
  local list = lists[coroutine.running()]
  if not list then return end
  if #list < MOST then
    list[#list + 1] = { sql = (tostring(sql):gsub("%s+", " "):gsub("^ ", "")) }
  elseif #list == MOST then
    list[MOST + 1] = { sql = "… and more" }
  end
end

local function noting(original)
  return function(sql, ...)
    note(sql)
    return original(sql, ...)
  end
end

local function behind(target)
  return setmetatable({
    rows = noting(target.rows), one = noting(target.one), exec = noting(target.exec),
  }, { __index = target })
end

local function watch_db()
  watching = true
  local ok, db = pcall(require, "runtime.db")
  if not ok then return end
  local transaction = db.transaction
  db.rows, db.one, db.exec = noting(db.rows), noting(db.one), noting(db.exec)
  db.replica.rows, db.replica.one = noting(db.replica.rows), noting(db.replica.one)
  db.transaction = function(fn, ...)
    return transaction(function(tx, ...) return fn(behind(tx), ...) end, ...)
  end
end

--- From now on what this coroutine asks MariaDB is noted in req.queries.
function queries.watch(req)
  if not watching then watch_db() end
  req.queries = {}
  lists[coroutine.running()] = req.queries
end

return queries

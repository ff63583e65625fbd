---@meta runtime.metrics
--- Found or made by name and labels, for the life of the process. Names: footlight_<folder>_<what>_<unit>
--- [_total]. Values of labels come from a small fixed set.
local metrics = {}

---@class runtime.Metric
local Metric = {}
---@param amount? integer (1)
function Metric:add(amount) end
---@param value integer not for counters
function Metric:set(value) end
---@param seconds number for histograms
function Metric:observe(seconds) end
---@return integer
function Metric:value() end

---@param name string
---@param help string
---@param labels? table<string, string>
---@return runtime.Metric
function metrics.counter(name, help, labels) end

---@param name string
---@param help string
---@param labels? table<string, string>
---@return runtime.Metric
function metrics.gauge(name, help, labels) end

---@param name string
---@param help string
---@param labels? table<string, string>
---@return runtime.Metric
function metrics.histogram(name, help, labels) end

return metrics

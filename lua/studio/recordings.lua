--- The studio's page of recordings: whether there are to be any, which there are, watching, deleting.
local config = require "runtime.config"
local file = require "runtime.file"
local form = require "footlight.form"
local format = require "footlight.format"
local models = require "store.models"
local recordings = require "store.recordings"
local show_view = require "site.show_view"

local wanted_form = form.define { { "record", form.choice { "yes", "no" } } }

local function model_of(req)
  local model = models.by_account(req.account.id)
  if not model then req:not_found() end
  return model
end

local function own(req)
  local model = model_of(req)
  local id = req.params.id:match("^[1-9]%d*$")
  local row = id and #id < 12 and recordings.by_id(tonumber(id))
  if not row or row.model_id ~= model.id then req:not_found() end
  return row
end

local function size_text(bytes, req) return format.bytes(bytes, req.locale) end

local function view_of(row, req)
  return { id = row.id, state = row.state, ready = row.state == "ready", size = size_text(row.bytes, req),
    length = show_view.clock(row.seconds), ended_iso = format.iso(row.ended_at),
    ended_text = format.datetime(row.ended_at, req.locale) }
end

return function(site)
  site:group({ prefix = "/studio/recordings", signed_in = true }, function(group)
    group:get("/", { name = "studio_recordings" }, function(req)
      local model = model_of(req)
      local list, usage = {}, recordings.usage(model.id)
      for i, row in ipairs(recordings.of_model(model.id)) do list[i] = view_of(row, req) end
      local most = config.get "media.recordings_bytes"
      return req:render("studio/recordings", { model = model, list = list, wanted = recordings.wanted(model.id),
        used = size_text(usage.bytes, req), most = size_text(most, req), full = usage.bytes >= most,
        days = config.get "media.recordings_days" })
    end)

    group:post("/wanted", function(req)
      local model = model_of(req)
      local values, errors = wanted_form:read(req)
      if errors then req:bad_request("record is yes or no") end
      recordings.set_wanted(model.id, values.record == "yes")
      req:flash(req.t(values.record == "yes" and "recordings.on" or "recordings.off"), "success")
      return req:redirect "/studio/recordings"
    end)

    -- nginx sends the file, whole or the range that a player asks for.
    group:get("/:id/video", function(req)
      local row = own(req)
      if row.state ~= "ready" then req:not_found() end
      return { status = 200, headers = { ["Content-Type"] = "video/mp4", ["Cache-Control"] = "private, no-store",
        ["X-Accel-Redirect"] = "/recordings/" .. row.name .. ".mp4" }, body = "" }
    end)

    group:post("/:id/delete", function(req)
      local row = own(req)
      if recordings.delete(row.id) then
        for _, ending in ipairs { "mp4", "flv", "part" } do
          file.remove(("%s/%s.%s"):format(config.get "media.recordings", row.name, ending))
        end
      end
      req:flash(req.t "recordings.deleted", "success")
      return req:redirect "/studio/recordings"
    end)
  end)
end

--- Broadcasting from the browser: the page with camera and settings, and the tokens that its script
--- asks for. The script sends to /media/ingest/<token> (docs/streaming.md).
local live = require "site.live"
local models = require "store.models"
local show_panel = require "studio.show_panel"
local streaming = require "runtime.streaming"

-- Width, height, frames a second, video kbit/s. The script fills the form from these; whoever changes
-- one of the fields has made settings of her own.
local presets = {
  { name = "saver", size = "640x360", fps = 24, kbit = 700 },
  { name = "standard", size = "1280x720", fps = 30, kbit = 2000 },
  { name = "smooth", size = "1280x720", fps = 60, kbit = 3500 },
  { name = "full", size = "1920x1080", fps = 30, kbit = 4500 },
}
local sizes = { "426x240", "640x360", "854x480", "1280x720", "1920x1080" }
local frame_rates = { 15, 24, 25, 30, 60 }
-- What the script says; it finds them in the page, so the catalogue stays the only place for words.
local said = {
  "camera_denied", "camera_missing", "camera_busy", "unsupported", "device", "connecting", "live", "waiting",
  "reconnecting", "ended", "gave_up", "slow", "lowered", "not_direct", "level_none", "level_quiet", "level_good", "level_loud",
  "state_live", "state_starting", "state_grace", "state_offline", "behind", "keeps_up",
  "close_4002", "close_4003", "close_4004", "close_4005", "close_4006", "close_4007", "close_4008", "close_4009",
  "close_4010",
}

local function model_of(req)
  local model = models.by_account(req.account.id)
  if not model then req:not_found() end
  return model
end

local function presets_of(t)
  local list = {}
  for i, each in ipairs(presets) do
    list[i] = { name = each.name, size = each.size, fps = each.fps, kbit = each.kbit,
      label = t("broadcast.preset_" .. each.name) }
  end
  return list
end

return function(site)
  site:group({ prefix = "/studio", signed_in = true }, function(group)
    group:get("/broadcast", { name = "studio.broadcast", camera = true }, function(req)
      local model = model_of(req)
      local strings = {}
      for i, name in ipairs(said) do strings[i] = { name = name, text = req.t("broadcast." .. name) } end
      local now = live.of(model.slug).state
      return req:render("studio/broadcast", {
        panel = show_panel.of(req, model),
        model = model, approved = model.state == "approved", now = now,
        elsewhere = now == "live" or now == "starting",
        presets = presets_of(req.t), sizes = sizes, frame_rates = frame_rates, strings = strings,
      })
    end)

    -- A token begins one connection; each reconnection asks for another.
    group:post("/broadcast/token", {
      limit = { name = "ingest_token", count = 600, seconds = 3600, by = "account" },
    }, function(req)
      local model = model_of(req)
      if model.state ~= "approved" then req:forbidden(req.t("studio.not_approved")) end
      return req:json_response { ok = true, token = streaming.ingest_token {
        slug = model.slug, model = model.id, account = req.account.id,
      } }
    end)

    -- Her other program's broadcast, wherever it runs: made to give way to this page within the grace, so
    -- that viewers stay, or ended.
    group:post("/broadcast/elsewhere", {
      limit = { name = "broadcast_elsewhere", count = 60, seconds = 3600, by = "account" },
    }, function(req)
      local model = model_of(req)
      local take = req:fields().action == "take"
      streaming.drop(model.slug, take and "taken over" or "ended", "publisher")
      if req:wants_json() then return req:json_response { ok = true } end
      return req:redirect("/studio/broadcast")
    end)
  end)
end

-- footlight ticket: a playback ticket for an account, as the site hands them out.
local accounts = require "store.accounts"
local command = require "footlight.command"
local config = require "runtime.config"
local models = require "store.models"
local rooms = require "store.rooms"
local streaming = require "runtime.streaming"

local MOST_RATE = 10000 * 1000000
local MOST_SECONDS = 86400
local TTL = 300

local function issue(options, out, slug)
  if not options.account then return out:fail(command.USAGE, "--account is missing") end
  local model = models.by_slug(slug)
  if not model then return out:fail(command.NOT_FOUND, ("there is no model %s"):format(slug)) end
  local account = accounts.by_name(options.account)
  if not account then return out:fail(command.NOT_FOUND, ("there is no account %s"):format(options.account)) end
  local rate = options.rate and command.credits(options.rate) or rooms.by_model(model.id).rate
  if options.rate and (not command.credits(options.rate) or rate > MOST_RATE) then
    return out:fail(command.USAGE, "a rate is 0 to 10000 credits a minute, with at most six decimals")
  end
  local limit = options.seconds and math.tointeger(tonumber(options.seconds:match("^%d+$"))) or 0
  if options.seconds and (limit < 1 or limit > MOST_SECONDS) then
    return out:fail(command.USAGE, ("--seconds takes 1 to %d"):format(MOST_SECONDS))
  end
  local policy = rate > 0 and "paid" or "free"
  local ticket = streaming.issue_ticket {
    account = account.id, slug = slug, rate = rate, limit = limit, policy = policy, ttl = TTL,
  }
  local play = (config.get("rtmp.play_url") or "rtmp://localhost/live") .. "/" .. slug .. "?t=" .. ticket
  out:result({
    ticket = ticket, account = account.name, account_id = account.id, slug = slug, rate = rate,
    rate_credits = command.show_credits(rate), limit_seconds = limit, policy = policy,
    begin_within_seconds = TTL, play_url = play,
    hls_path = "/media/hls/" .. ticket .. "/index.m3u8", flv_path = "/media/flv/" .. ticket,
  }, ticket)
  return command.OK
end

return command.define {
  name = "ticket",
  summary = "make playback tickets",
  commands = {
    { "issue", summary = "print a ticket: rtmp://…/live/SLUG?t=TICKET plays once", arguments = { "SLUG" },
      options = {
        { "--account NAME", "who watches, and pays" },
        { "--rate CREDITS", "a minute (the room's)" },
        { "--seconds LIMIT", "ends the session after so long (no limit)" },
      },
      run = issue },
  },
}

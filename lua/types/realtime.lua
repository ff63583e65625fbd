---@meta runtime.realtime
--- Channels of the realtime service (docs/realtime-protocol.md), from any service: publishing, what was
--- said, who is there, orders to the instances, tokens. What waits says so by yielding; Redis' errors are raised.
local realtime = {}

---@class realtime_position
---@field offset integer of the last message; 0: none
---@field epoch string the numbering that the offset belongs to

---@class realtime_entry
---@field offset integer
---@field data any

---@class realtime_past: realtime_position
---@field messages realtime_entry[] oldest first

---@class realtime_presence
---@field count integer accounts once each, and guests by their connections
---@field members? integer[] account ids, unless there are more than 200

--- Numbers, keeps and spreads a message (JSON-able, at most 64 KiB). Raises for a channel that cannot be.
---@param channel string
---@param message table
---@return integer offset, string epoch 0 and "" where nothing is kept
function realtime.publish(channel, message) end

--- To all devices of one account, by its channel user:<id>.
---@param account integer
---@param message table
---@return integer offset, string epoch
function realtime.notify(account, message) end

--- Takes a message out of the history and tells everyone, by { type = "remove", offset = … } and the details.
---@param channel string
---@param offset integer
---@param details? table
---@return integer offset, string epoch of the message that tells
function realtime.remove(channel, offset, details) end

--- The newest `count` (50) of the messages after `since` (0). A state channel gives its latest.
---@param channel string
---@param count? integer
---@param since? integer
---@return realtime_past
function realtime.history(channel, count, since) end

--- Where a page stands that subscribes later, so that nothing falls between the two.
---@param channel string
---@return realtime_position
function realtime.position(channel) end

---@param channel string
---@return realtime_presence
function realtime.presence(channel) end

--- Closes the account's connections on every instance; with `session` those of one site session, whose
--- tokens are void from then on. To keep a whole account out, change its state or nbf as well.
---@param account integer
---@param reason? string
---@param session? string
function realtime.kick(account, reason, session) end

--- Ends everyone's subscription to a channel.
---@param channel string
---@param reason? string
function realtime.close(channel, reason) end

---@param account integer
---@param channel string
---@param reason? string
function realtime.unsubscribe(account, channel, reason) end

--- Keeps an account from writing in a channel: for good without `seconds`; 0 ends it.
---@param channel string
---@param account integer
---@param seconds? integer
function realtime.mute(channel, account, seconds) end

--- As mute, and the account may not listen either: its subscriptions end at once.
---@param channel string
---@param account integer
---@param seconds? integer
---@param reason? string told to the account
function realtime.ban(channel, account, seconds, reason) end

--- What an account is in one room: above its modes, and shown as that. nil takes it away.
---@param channel string
---@param account integer
---@param role? "model"|"moderator"
function realtime.role(channel, account, role) end

--- Who follows may write in followers-only mode.
---@param channel string
---@param account integer
---@param follows boolean
function realtime.follow(channel, account, follows) end

--- Who has tipped within a day may write in tippers-only mode.
---@param channel string
---@param account integer
function realtime.tipped(channel, account) end

---@class realtime_modes
---@field slow? integer seconds between two messages of one account; 0: none
---@field followers? boolean only who follows may write
---@field tippers? boolean only who has tipped may write
---@field links? boolean links pass

--- Sets what is given, tells the room, and returns where; without `modes`: what is set.
---@param channel string
---@param modes? realtime_modes
---@return realtime_modes|integer offset, string? epoch
function realtime.mode(channel, modes) end

--- The time between two messages of one account; 0 ends slow mode.
---@param channel string
---@param seconds integer
---@return integer offset, string epoch
function realtime.slow(channel, seconds) end

--- Empties the history and tells everyone.
---@param channel string
---@return integer offset, string epoch
function realtime.clear(channel) end

---@class realtime_identity
---@field account? integer 0: a guest; or give `sub`
---@field sub? string
---@field name? string
---@field role? string
---@field caps? string[] channels that may be written to, and closed ones that may be heard: "chat:*"
---@field session? string the site's session, so that one device can be signed out
---@field seconds? integer until it expires (900)
---@field iat? integer
---@field exp? integer

--- A signed token for the connect frame.
---@param identity realtime_identity
---@return string
function realtime.token(identity) end

return realtime

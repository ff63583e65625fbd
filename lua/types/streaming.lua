---@meta runtime.streaming
--- Playback tickets, what is live, and orders to the services that hold the streams. Works in every service.
local streaming = {}

---@class ticket_terms
---@field slug string
---@field account? integer 0 or nothing: a guest, who cannot pay
---@field rate? integer micro-credits a minute
---@field limit? integer seconds that a session may last; 0: no limit
---@field free? integer seconds at the start that are paid otherwise (a show's minimum)
---@field policy? "preview"|"free"|"paid"|"private"|"group"|"spy"|"ticket" paid if there is a rate, else free
---@field minimum? integer micro-credits that a session costs at least, once it is charged at all
---@field increment? integer seconds that are rounded up to (1)
---@field off? integer off the rate, in basis points: 2500 is a quarter
---@field show? integer the private or group show that it belongs to
---@field ttl? integer seconds until it is too late to begin (300)
---@field expires? integer the same as a time, seconds since 1970

--- A ticket for one viewing session, and its nonce. Raises for terms that are none.
---@param terms ticket_terms
---@return string text, string nonce
function streaming.ticket(terms) end

--- Another name of streaming.ticket.
---@param terms ticket_terms
---@return string text, string nonce
function streaming.issue_ticket(terms) end

--- Leave to broadcast from the browser, once, beginning within `ttl` seconds (60): the last part of the
--- address /media/ingest/<token>. Raises for terms that are none.
---@param terms { slug: string, model: integer, account: integer, ttl?: integer }
---@return string
function streaming.ingest_token(terms) end

--- What a ticket says; nil and "malformed", "forged" or "expired".
---@param text string
---@return table? terms, string? reason
function streaming.read_ticket(text) end

--- What is known of a stream that is not offline: slug, state ("starting", "live", "grace"), since (ms), model,
--- broadcast, began (ms), thumb (version of its pictures). nil: offline.
---@param slug string
---@return table?
function streaming.live(slug) end

--- The slugs of all that is not offline.
---@return string[]
function streaming.list() end

--- Ends a stream: its viewers, its publisher, or (nothing) both. Returns how many processes heard it.
---@param slug string
---@param reason? string
---@param who? "viewers"|"publisher"
---@return integer
function streaming.drop(slug, reason, who) end

--- Ends one viewing session.
---@param sid string
---@param reason? string
---@return integer
function streaming.cut(sid, reason) end

--- Ends all that an account watches or broadcasts.
---@param account integer
---@param reason? string
---@return integer
function streaming.kick(account, reason) end

--- Says whose a stream is: viewers whose tickets are for another show are cut. The projection must say so first.
---@param slug string
---@param show integer 0: everybody's
---@param reason? string
---@return integer
function streaming.show(slug, show, reason) end

--- Makes a ticket worthless, and ends the session that began with it.
---@param ticket string
---@param reason? string
---@return integer
function streaming.revoke(ticket, reason) end

--- Where a ticket plays: rtmp (an address), flv, hls and state (paths).
---@param slug string
---@param ticket string
---@return { rtmp: string, flv: string, hls: string, state: string }
function streaming.addresses(slug, ticket) end

--- The hash under which a stream key is looked up (p:key:<hash>).
---@param key string
---@return string
function streaming.key_hash(key) end

return streaming

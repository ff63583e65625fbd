-- Shows that have a stream to themselves: private, group and ticket; who takes part, and what became of it.

ALTER TABLE room_settings
    ADD COLUMN spy_rate      BIGINT UNSIGNED NULL AFTER private_minimum,
    ADD COLUMN group_rate    BIGINT UNSIGNED NULL AFTER spy_rate,
    ADD COLUMN group_minimum SMALLINT UNSIGNED NOT NULL DEFAULT 3 AFTER group_rate,
    ADD COLUMN group_size    SMALLINT UNSIGNED NOT NULL DEFAULT 3 AFTER group_minimum,
    ADD COLUMN away          BOOLEAN NOT NULL DEFAULT FALSE AFTER group_size,
    ADD CHECK (spy_rate IS NULL OR spy_rate BETWEEN 1000000 AND 10000000000),
    ADD CHECK (group_rate IS NULL OR group_rate BETWEEN 1000000 AND 10000000000),
    ADD CHECK (group_minimum BETWEEN 1 AND 60),
    ADD CHECK (group_size BETWEEN 2 AND 100);

CREATE TABLE shows (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id     BIGINT UNSIGNED NOT NULL,
    -- Who asked for a private show; nobody for the others.
    requester_id BIGINT UNSIGNED NULL,
    kind         ENUM ('private', 'group', 'ticket') NOT NULL,
    state        ENUM ('requested', 'declined', 'expired', 'withdrawn', 'accepted', 'active', 'paused', 'ending',
                       'settled', 'pooling', 'announced', 'selling', 'live', 'cancelled') NOT NULL,
    -- The prices that were agreed: they do not follow the room's. Micro-credits a minute …
    rate         BIGINT UNSIGNED NOT NULL DEFAULT 0,
    spy_rate     BIGINT UNSIGNED NULL,
    minimum      SMALLINT UNSIGNED NOT NULL DEFAULT 0, -- minutes
    -- … and, of a ticket show, in all.
    price        BIGINT UNSIGNED NOT NULL DEFAULT 0,
    size         SMALLINT UNSIGNED NOT NULL DEFAULT 1, -- members without whom it does not begin
    title        VARCHAR(100) NOT NULL DEFAULT '',
    starts_at    DATETIME(6) NULL, -- ticket: announced for
    -- When the present state has lasted long enough.
    deadline     DATETIME(6) NULL,
    end_reason   ENUM ('viewer', 'model', 'no_credit', 'no_media', 'moderator', 'server_restart') NULL,
    created_at   DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    started_at   DATETIME(6) NULL,
    ended_at     DATETIME(6) NULL,
    -- When the stream last changed hands because of it.
    stage_at     DATETIME(6) NULL,
    -- A stream belongs to one show at a time, and a viewer has one request open. NULLs do not collide.
    on_stage     BIGINT UNSIGNED AS (IF(state IN ('accepted', 'active', 'paused', 'live'), model_id, NULL)) STORED UNIQUE,
    open_request BIGINT UNSIGNED AS (IF(state IN ('requested', 'accepted', 'active', 'paused'), requester_id, NULL)) STORED UNIQUE,
    INDEX (model_id, id),
    INDEX (requester_id, id),
    INDEX (state),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (requester_id) REFERENCES accounts (id),
    CHECK ((kind = 'private') = (requester_id IS NOT NULL)),
    CHECK (kind <> 'private' OR state IN ('requested', 'declined', 'expired', 'withdrawn', 'accepted', 'active',
                                          'paused', 'ending', 'settled')),
    CHECK (kind <> 'group' OR state IN ('pooling', 'active', 'settled', 'cancelled')),
    CHECK (kind <> 'ticket' OR state IN ('announced', 'selling', 'live', 'settled', 'cancelled')),
    CHECK (state NOT IN ('ending', 'settled') OR end_reason IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE show_participants (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    show_id    BIGINT UNSIGNED NOT NULL,
    account_id BIGINT UNSIGNED NOT NULL,
    role       ENUM ('viewer', 'member', 'buyer', 'spy') NOT NULL,
    -- asked: nothing is set aside yet; in: may watch, and `held` is; left: by his own will; settled: done with.
    state      ENUM ('asked', 'in', 'left', 'settled') NOT NULL,
    held       BIGINT UNSIGNED NOT NULL DEFAULT 0,
    captured   BIGINT UNSIGNED NOT NULL DEFAULT 0, -- of what was held
    metered    BIGINT UNSIGNED NOT NULL DEFAULT 0, -- beside it, by the second
    -- The evidence of watching, as it was last saved.
    watched_ms BIGINT UNSIGNED NOT NULL DEFAULT 0,
    seen_at    DATETIME(6) NULL,
    joined_at  DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    settled_at DATETIME(6) NULL,
    UNIQUE (show_id, account_id),
    INDEX (account_id, id),
    INDEX (state, show_id),
    FOREIGN KEY (show_id) REFERENCES shows (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    CHECK (captured <= held)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- The outbox carries the news of shows.
ALTER TABLE outbox
    MODIFY COLUMN kind ENUM ('projection', 'order', 'mail', 'push', 'webhook', 'show') NOT NULL;

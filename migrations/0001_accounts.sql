-- Accounts, their roles, sessions and one-time tokens; the settings that have a history, the audit
-- log and the outbox. Times are UTC. Hashes are SHA-256 in lower-case hexadecimal: what a reader of
-- the database finds cannot be used to sign in.

CREATE TABLE roles (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name        VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    description VARCHAR(200) NOT NULL DEFAULT '',
    CHECK (name REGEXP '^[a-z][a-z_]{1,19}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE role_permissions (
    role_id    BIGINT UNSIGNED NOT NULL,
    permission VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (role_id, permission),
    FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE,
    CHECK (permission REGEXP '^[a-z_]+(\\.[a-z_]+)*$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO roles (id, name, description) VALUES
    (1, 'viewer', 'watches, chats, buys credits'),
    (2, 'model', 'broadcasts, once the profile is approved'),
    (3, 'moderator', 'acts on chat, reports and live rooms'),
    (4, 'admin', 'runs the site: models, money, staff and settings');

INSERT INTO role_permissions (role_id, permission) VALUES
    (1, 'room.chat'), (1, 'room.tip'), (1, 'credits.buy'),
    (2, 'room.chat'), (2, 'room.tip'), (2, 'credits.buy'), (2, 'studio.use'),
    (3, 'room.chat'), (3, 'room.moderate'), (3, 'moderation.reports'), (3, 'moderation.live'),
    (4, 'room.chat'), (4, 'room.moderate'), (4, 'moderation.reports'), (4, 'moderation.live'),
    (4, 'admin.models'), (4, 'admin.accounts'), (4, 'admin.orders'), (4, 'admin.ledger'),
    (4, 'admin.payouts'), (4, 'admin.settings'), (4, 'admin.audit');

CREATE TABLE accounts (
    id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name              VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    -- As the owner writes it, and folded for comparing. NULL: made by an operator, or deleted.
    email             VARCHAR(254) NULL,
    email_key         VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL UNIQUE,
    -- NULL: nobody can sign in with a password.
    password_hash     VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NULL,
    state             ENUM ('pending', 'active', 'disabled', 'banned', 'deleted') NOT NULL DEFAULT 'pending',
    role_id           BIGINT UNSIGNED NOT NULL,
    locale            VARCHAR(20) CHARACTER SET ascii NOT NULL DEFAULT 'en',
    tz                VARCHAR(40) CHARACTER SET ascii NOT NULL DEFAULT 'UTC',
    email_verified_at DATETIME(6) NULL,
    totp_secret_enc   VARBINARY(255) NULL,
    totp_last_step    BIGINT UNSIGNED NULL,
    -- Tokens issued before this moment are void; it moves when a password, a role or a state changes.
    tokens_valid_from DATETIME(6) NOT NULL DEFAULT '1970-01-02 00:00:00',
    version           INT UNSIGNED NOT NULL DEFAULT 1,
    created_at        DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    updated_at        DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    delete_after      DATETIME(6) NULL,
    INDEX (role_id),
    INDEX (created_at),
    FOREIGN KEY (role_id) REFERENCES roles (id),
    CHECK (name REGEXP '^[a-z0-9_]{3,20}$'),
    CHECK ((email IS NULL) = (email_key IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE sessions (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    account_id BIGINT UNSIGNED NOT NULL,
    ip         VARCHAR(45) CHARACTER SET ascii NOT NULL DEFAULT '',
    user_agent VARCHAR(255) NOT NULL DEFAULT '',
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    seen_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    expires_at DATETIME(6) NOT NULL,
    revoked_at DATETIME(6) NULL,
    INDEX (account_id, revoked_at),
    INDEX (expires_at),
    FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CHECK (token_hash REGEXP '^[0-9a-f]{64}$'),
    CHECK (expires_at > created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE email_tokens (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    account_id BIGINT UNSIGNED NOT NULL,
    kind       ENUM ('activate', 'reset', 'email_change', 'email_undo') NOT NULL,
    -- What the token is about, e.g. the new address.
    detail     VARCHAR(254) NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    expires_at DATETIME(6) NOT NULL,
    used_at    DATETIME(6) NULL,
    INDEX (account_id, kind),
    INDEX (expires_at),
    FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CHECK (token_hash REGEXP '^[0-9a-f]{64}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE recovery_codes (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    account_id BIGINT UNSIGNED NOT NULL,
    code_hash  CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    used_at    DATETIME(6) NULL,
    UNIQUE (account_id, code_hash),
    FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Policy as data with its history: a change is a new version, the highest one holds. Rows are never
-- changed, so a statement can always say which numbers it was made with.
CREATE TABLE settings (
    name       VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version    INT UNSIGNED NOT NULL,
    value      JSON NOT NULL,
    reason     VARCHAR(200) NOT NULL DEFAULT '',
    changed_by BIGINT UNSIGNED NULL,
    changed_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    PRIMARY KEY (name, version),
    FOREIGN KEY (changed_by) REFERENCES accounts (id),
    CHECK (name REGEXP '^[a-z_]+(\\.[a-z_]+)+$'),
    CHECK (version > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Append-only; each row carries the hash of the one before, so that a removed or changed row shows.
CREATE TABLE audit_log (
    seq        BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    at         DATETIME(6) NOT NULL,
    -- NULL: an operator at the command line or the system itself, named in `via`.
    actor_id   BIGINT UNSIGNED NULL,
    via        VARCHAR(40) CHARACTER SET ascii NOT NULL DEFAULT 'web',
    action     VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    target     VARCHAR(80) NOT NULL,
    detail     JSON NOT NULL,
    ip         VARCHAR(45) CHARACTER SET ascii NOT NULL DEFAULT '',
    prev_hash  CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hash       CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    INDEX (target, seq),
    INDEX (actor_id, seq),
    FOREIGN KEY (actor_id) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- The one row that writers of the audit log lock, so that the chain has no forks.
CREATE TABLE audit_head (
    id   TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    seq  BIGINT UNSIGNED NOT NULL,
    hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    CHECK (id = 1)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, REPEAT('0', 64));

-- What must happen outside MariaDB because of a committed change. jobs takes rows under a lease;
-- a row that is done is deleted after a while.
CREATE TABLE outbox (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind         ENUM ('projection', 'order', 'mail', 'push', 'webhook') NOT NULL,
    payload      JSON NOT NULL,
    state        ENUM ('waiting', 'done', 'dead') NOT NULL DEFAULT 'waiting',
    attempts     INT UNSIGNED NOT NULL DEFAULT 0,
    next_at      DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    leased_by    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
    leased_until DATETIME(6) NULL,
    error        VARCHAR(500) NULL,
    created_at   DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    done_at      DATETIME(6) NULL,
    INDEX (state, next_at),
    INDEX (state, done_at),
    CHECK ((state = 'waiting') = (done_at IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

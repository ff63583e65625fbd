-- Performers ("models" in what people see): profile, application, room, stream keys, broadcasts.

CREATE TABLE model_profiles (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    account_id    BIGINT UNSIGNED NOT NULL UNIQUE,
    slug          VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    stage_name    VARCHAR(40) NOT NULL,
    bio           VARCHAR(2000) NOT NULL DEFAULT '',
    languages     VARCHAR(60) CHARACTER SET ascii NOT NULL DEFAULT '',
    state         ENUM ('draft', 'submitted', 'in_review', 'changes_requested', 'approved', 'rejected',
                        'suspended', 'expired', 'banned', 'closed') NOT NULL DEFAULT 'draft',
    -- Grows with every move; a decision names the version that its maker saw.
    state_version INT UNSIGNED NOT NULL DEFAULT 1,
    state_reason  VARCHAR(500) NULL,
    approved_at   DATETIME(6) NULL,
    created_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    updated_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    INDEX (state, slug),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    CHECK (slug REGEXP '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
    CHECK (state <> 'approved' OR approved_at IS NOT NULL),
    CHECK (state NOT IN ('rejected', 'changes_requested') OR state_reason IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE model_applications (
    id                BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id          BIGINT UNSIGNED NOT NULL,
    step              TINYINT UNSIGNED NOT NULL DEFAULT 1,
    state             ENUM ('draft', 'submitted', 'approved', 'changes_requested', 'rejected') NOT NULL DEFAULT 'draft',
    agreement_version VARCHAR(20) CHARACTER SET ascii NULL,
    reviewer_id       BIGINT UNSIGNED NULL,
    reason_code       VARCHAR(40) CHARACTER SET ascii NULL,
    note              VARCHAR(500) NULL,
    created_at        DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    submitted_at      DATETIME(6) NULL,
    decided_at        DATETIME(6) NULL,
    INDEX (model_id, id),
    INDEX (state, submitted_at),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (reviewer_id) REFERENCES accounts (id),
    CHECK (step BETWEEN 1 AND 4),
    CHECK (state IN ('draft', 'submitted') OR decided_at IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE room_settings (
    model_id        BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    title           VARCHAR(100) NOT NULL DEFAULT '',
    -- Micro-credits a minute; 0: the public room is free to watch.
    rate            BIGINT UNSIGNED NOT NULL DEFAULT 0,
    private_rate    BIGINT UNSIGNED NULL,
    private_minimum SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    tips_offline    BOOLEAN NOT NULL DEFAULT FALSE,
    modes           JSON NOT NULL DEFAULT '{}',
    version         INT UNSIGNED NOT NULL DEFAULT 1,
    updated_at      DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    CHECK (rate <= 10000000000),
    CHECK (private_rate IS NULL OR private_rate BETWEEN 1000000 AND 10000000000),
    CHECK (private_minimum <= 60)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE tags (
    id    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name  VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    label VARCHAR(40) NOT NULL,
    CHECK (name REGEXP '^[a-z0-9][a-z0-9-]{0,29}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE room_tags (
    model_id BIGINT UNSIGNED NOT NULL,
    tag_id   BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (model_id, tag_id),
    INDEX (tag_id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (tag_id) REFERENCES tags (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE follows (
    account_id BIGINT UNSIGNED NOT NULL,
    model_id   BIGINT UNSIGNED NOT NULL,
    notify     BOOLEAN NOT NULL DEFAULT TRUE,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    PRIMARY KEY (account_id, model_id),
    INDEX (model_id, created_at),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- A key is shown once; what is stored cannot be used to broadcast. At most one is in force: the
-- generated column is NULL for revoked keys, and NULLs do not collide in a unique key.
CREATE TABLE stream_keys (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id   BIGINT UNSIGNED NOT NULL,
    key_hash   CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    hint       CHAR(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    revoked_at DATETIME(6) NULL,
    in_force   BIGINT UNSIGNED AS (IF(revoked_at IS NULL, model_id, NULL)) STORED UNIQUE,
    INDEX (model_id, created_at),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    CHECK (key_hash REGEXP '^[0-9a-f]{64}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE broadcasts (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- The id of the event that began it in the stream `events`; makes a replay harmless.
    event_id   VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    model_id   BIGINT UNSIGNED NOT NULL,
    started_at DATETIME(6) NOT NULL,
    ended_at   DATETIME(6) NULL,
    end_reason VARCHAR(40) CHARACTER SET ascii NULL,
    codec      VARCHAR(40) CHARACTER SET ascii NULL,
    peak       INT UNSIGNED NOT NULL DEFAULT 0,
    node       VARCHAR(60) CHARACTER SET ascii NOT NULL DEFAULT '',
    INDEX (model_id, started_at),
    INDEX (ended_at),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    CHECK (ended_at IS NULL OR ended_at >= started_at),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

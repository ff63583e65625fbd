-- The double-entry ledger (docs/billing.md). `jobs` writes it from the outbox streams of the money
-- Redis, `web` for what is born in MariaDB. ledger_txns, ledger_entries and ledger_batches are
-- append-only: the runtime user has no UPDATE or DELETE on them; a mistake is put right by a
-- transaction that reverses it. Amounts are micro-credits (currency 'CRD') or minor units of money.

CREATE TABLE wallets (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    owner_type ENUM ('account', 'model', 'site') NOT NULL,
    owner_id   BIGINT UNSIGNED NOT NULL, -- 0 for the site
    kind       ENUM ('viewer_paid', 'viewer_promo', 'viewer_debt', 'model_pending', 'model_payable',
                     'site_revenue', 'promo_expense', 'provider_clearing', 'refunds', 'hold', 'tax',
                     'affiliate', 'adjustments') NOT NULL,
    currency   CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'CRD',
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    -- Only so that the owner is a real one.
    account_id BIGINT UNSIGNED AS (IF(owner_type = 'account', owner_id, NULL)) STORED,
    model_id   BIGINT UNSIGNED AS (IF(owner_type = 'model', owner_id, NULL)) STORED,
    UNIQUE (owner_type, owner_id, kind, currency),
    INDEX (account_id),
    INDEX (model_id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    CHECK ((owner_type = 'site') = (owner_id = 0)),
    CHECK (owner_type <> 'account' OR kind IN ('viewer_paid', 'viewer_promo', 'viewer_debt', 'affiliate')),
    CHECK (owner_type <> 'model' OR kind IN ('model_pending', 'model_payable', 'hold', 'tax')),
    CHECK (owner_type <> 'site' OR kind IN ('site_revenue', 'promo_expense', 'provider_clearing',
                                            'refunds', 'hold', 'tax', 'adjustments')),
    CHECK (currency REGEXP '^[A-Z]{3}$')
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO wallets (owner_type, owner_id, kind, currency) VALUES
    ('site', 0, 'site_revenue', 'CRD'),
    ('site', 0, 'promo_expense', 'CRD'),
    ('site', 0, 'provider_clearing', 'CRD'),
    ('site', 0, 'refunds', 'CRD'),
    ('site', 0, 'tax', 'CRD'),
    ('site', 0, 'adjustments', 'CRD');

CREATE TABLE ledger_txns (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- The operation (order id, sid:n, tip op …). The same key with other content is an alarm.
    idem_key    VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    type        VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ref_type    VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ref_id      VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NULL,
    actor       VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'system',
    reason      VARCHAR(200) NULL,
    detail      JSON NULL,
    occurred_at DATETIME(6) NOT NULL,
    created_at  DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    reverses_id BIGINT UNSIGNED NULL UNIQUE,
    -- Where it came from: entry <ms>-<n> of a shard's outbox; all NULL when born in MariaDB.
    shard       SMALLINT UNSIGNED NULL,
    epoch       INT UNSIGNED NULL,
    stream_ms   BIGINT UNSIGNED NULL,
    stream_n    BIGINT UNSIGNED NULL,
    -- The hot wallet that changed and the number of the change in it, gap-free in each epoch's line.
    account_id  BIGINT UNSIGNED NULL,
    wseq        BIGINT UNSIGNED NULL,
    UNIQUE (shard, epoch, stream_ms, stream_n),
    UNIQUE (account_id, wseq),
    INDEX (ref_type, ref_id),
    INDEX (type, occurred_at),
    INDEX (occurred_at),
    FOREIGN KEY (reverses_id) REFERENCES ledger_txns (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    CHECK ((shard IS NULL) = (epoch IS NULL) AND (shard IS NULL) = (stream_ms IS NULL)
           AND (shard IS NULL) = (stream_n IS NULL)),
    CHECK (shard IS NULL OR shard < 16),
    CHECK ((account_id IS NULL) = (wseq IS NULL)),
    CHECK (type <> 'adjustment' OR reason IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE ledger_entries (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    txn_id        BIGINT UNSIGNED NOT NULL,
    wallet_id     BIGINT UNSIGNED NOT NULL,
    seq           BIGINT UNSIGNED NOT NULL, -- 1, 2, 3 … in each wallet
    amount        BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    UNIQUE (wallet_id, seq),
    INDEX (txn_id),
    FOREIGN KEY (txn_id) REFERENCES ledger_txns (id),
    FOREIGN KEY (wallet_id) REFERENCES wallets (id),
    CHECK (amount <> 0),
    CHECK (seq > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Derived; a rebuild from the entries must give the same. Rows are locked in order of wallet_id.
CREATE TABLE wallet_balances (
    wallet_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    balance   BIGINT NOT NULL DEFAULT 0,
    version   BIGINT UNSIGNED NOT NULL DEFAULT 0, -- the seq of the last entry
    FOREIGN KEY (wallet_id) REFERENCES wallets (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO wallet_balances (wallet_id) SELECT id FROM wallets;

-- How far each shard's outbox has been booked. Written in the transaction that books.
CREATE TABLE ledger_cursors (
    shard      SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
    epoch      INT UNSIGNED NOT NULL DEFAULT 0,
    stream_ms  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    stream_n   BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- Of the last batch, see ledger_batches.
    batch_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT
               '0000000000000000000000000000000000000000000000000000000000000000',
    updated_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    CHECK (shard < 16)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO ledger_cursors (shard) VALUES
    (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

-- One line for each committed flush: a hash over the one before and the entries of this one.
CREATE TABLE ledger_batches (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    shard      SMALLINT UNSIGNED NOT NULL,
    epoch      INT UNSIGNED NOT NULL,
    last_ms    BIGINT UNSIGNED NOT NULL,
    last_n     BIGINT UNSIGNED NOT NULL,
    txns       INT UNSIGNED NOT NULL,
    prev_hash  CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hash       CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    UNIQUE (shard, epoch, last_ms, last_n),
    UNIQUE (shard, hash),
    FOREIGN KEY (shard) REFERENCES ledger_cursors (shard)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- Entries that contradict what was booked before or cannot be booked; staff decide.
CREATE TABLE ledger_quarantine (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    shard      SMALLINT UNSIGNED NOT NULL,
    epoch      INT UNSIGNED NOT NULL,
    stream_ms  BIGINT UNSIGNED NOT NULL,
    stream_n   BIGINT UNSIGNED NOT NULL,
    entry      JSON NOT NULL,
    reason     VARCHAR(500) NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    solved_at  DATETIME(6) NULL,
    solved_by  BIGINT UNSIGNED NULL,
    solution   VARCHAR(500) NULL,
    UNIQUE (shard, epoch, stream_ms, stream_n),
    INDEX (solved_at),
    FOREIGN KEY (solved_by) REFERENCES accounts (id),
    CHECK ((solved_at IS NULL) = (solution IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE tips (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    ledger_txn_id BIGINT UNSIGNED NOT NULL UNIQUE,
    model_id      BIGINT UNSIGNED NOT NULL,
    account_id    BIGINT UNSIGNED NOT NULL,
    amount        BIGINT UNSIGNED NOT NULL,
    anonymous     BOOLEAN NOT NULL DEFAULT FALSE,
    message       VARCHAR(200) NOT NULL DEFAULT '',
    created_at    DATETIME(6) NOT NULL,
    INDEX (model_id, created_at),
    INDEX (account_id, created_at),
    FOREIGN KEY (ledger_txn_id) REFERENCES ledger_txns (id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

-- What a statement needs to explain a figure: the numbers that were in force, by version.
INSERT INTO settings (name, version, value, reason) VALUES
    ('billing.split_paid_bp', 1, '5000', 'performer''s share of paid credits, in basis points'),
    ('billing.split_promo_bp', 1, '5000', 'performer''s share of promotional credits, in basis points'),
    ('billing.hold_days', 1, '14', 'days until pending earnings become payable'),
    ('billing.quantum_seconds', 1, '10', 'seconds that a meter reserves ahead'),
    ('billing.increment_seconds', 1, '1', 'seconds that a meter rounds up to'),
    ('billing.free_seconds', 1, '0', 'seconds at the start of a session that are not charged'),
    ('billing.minimum_charge', 1, '0', 'micro-credits that a session costs at least');

-- Payments beyond the sandbox: what providers call things, events that wait for their turn, refunds,
-- disputes and promo codes.

CREATE TABLE promos (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    code          VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    bonus_credits BIGINT UNSIGNED NOT NULL DEFAULT 0, -- micro-credits, fixed
    bonus_bp      INT UNSIGNED NOT NULL DEFAULT 0,    -- of the pack's credits, in basis points
    budget        BIGINT UNSIGNED NOT NULL,           -- micro-credits that it may give in all
    per_account   INT UNSIGNED NOT NULL DEFAULT 1,
    ends_at       DATETIME(6) NOT NULL,
    stopped_at    DATETIME(6) NULL,
    created_by    BIGINT UNSIGNED NOT NULL,
    created_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    FOREIGN KEY (created_by) REFERENCES accounts (id),
    CHECK (code REGEXP '^[A-Z0-9-]{4,24}$'),
    CHECK (bonus_credits + bonus_bp > 0),
    CHECK (bonus_bp <= 10000),
    CHECK (budget > 0),
    CHECK (per_account > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

ALTER TABLE orders
    -- The payment itself, where the provider tells it from the session that led to it.
    ADD COLUMN payment_ref VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN promo_id BIGINT UNSIGNED NULL,
    ADD INDEX (provider, payment_ref),
    ADD FOREIGN KEY (promo_id) REFERENCES promos (id);

-- One row for an order with a code. It counts against the budget while its order may still be paid.
CREATE TABLE promo_uses (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    promo_id   BIGINT UNSIGNED NOT NULL,
    account_id BIGINT UNSIGNED NOT NULL,
    order_id   BIGINT UNSIGNED NOT NULL UNIQUE,
    amount     BIGINT UNSIGNED NOT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    INDEX (promo_id, account_id),
    INDEX (account_id),
    FOREIGN KEY (promo_id) REFERENCES promos (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    FOREIGN KEY (order_id) REFERENCES orders (id),
    CHECK (amount > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

ALTER TABLE payment_events
    ADD COLUMN type VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN ref VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- The event as the adapter understood it: what is replayed when its turn has come.
    ADD COLUMN detail JSON NULL,
    ADD INDEX (provider, ref),
    ADD INDEX (result, received_at);

CREATE TABLE refunds (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    order_id      BIGINT UNSIGNED NOT NULL,
    idem_key      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- staff: asked for here; provider: the provider gave it back by itself.
    source        ENUM ('staff', 'provider') NOT NULL,
    state         ENUM ('requested', 'taken', 'sent', 'done', 'refused') NOT NULL DEFAULT 'requested',
    state_reason  VARCHAR(200) NULL,
    amount_minor  BIGINT UNSIGNED NOT NULL,
    credits       BIGINT UNSIGNED NOT NULL, -- micro-credits that go with it
    promo_credits BIGINT UNSIGNED NOT NULL DEFAULT 0,
    promo_taken   BIGINT UNSIGNED NOT NULL DEFAULT 0,
    provider_ref  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NULL,
    reason        VARCHAR(200) NOT NULL DEFAULT '',
    created_by    BIGINT UNSIGNED NULL,
    created_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    updated_at    DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    UNIQUE (order_id, idem_key),
    INDEX (state, updated_at),
    FOREIGN KEY (order_id) REFERENCES orders (id),
    FOREIGN KEY (created_by) REFERENCES accounts (id),
    CHECK (amount_minor > 0),
    CHECK ((source = 'staff') = (created_by IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE disputes (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    order_id     BIGINT UNSIGNED NOT NULL,
    provider     VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    provider_ref VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state        ENUM ('open', 'won', 'lost') NOT NULL DEFAULT 'open',
    amount_minor BIGINT UNSIGNED NOT NULL,
    reason       VARCHAR(200) NOT NULL DEFAULT '',
    due_by       DATETIME(6) NULL,
    evidence     TEXT NULL,
    created_at   DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    closed_at    DATETIME(6) NULL,
    UNIQUE (provider, provider_ref),
    INDEX (order_id),
    INDEX (state, due_by),
    FOREIGN KEY (order_id) REFERENCES orders (id),
    CHECK (amount_minor > 0),
    CHECK ((state = 'open') = (closed_at IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO role_permissions (role_id, permission) VALUES (4, 'admin.promos');

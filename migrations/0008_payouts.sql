-- Paying models: where to, who made and who approved a batch, each payout, and statements that do not change.

ALTER TABLE wallets
    MODIFY kind ENUM ('viewer_paid', 'viewer_promo', 'viewer_debt', 'model_pending', 'model_payable',
                      'site_revenue', 'promo_expense', 'provider_clearing', 'refunds', 'hold', 'tax',
                      'affiliate', 'adjustments', 'conversion', 'bank') NOT NULL,
    -- CONSTRAINT_4 named the kinds of the site's wallets: two more, for credits that become money.
    DROP CONSTRAINT CONSTRAINT_4,
    ADD CONSTRAINT wallets_site_kinds CHECK (owner_type <> 'site' OR kind IN ('site_revenue', 'promo_expense',
        'provider_clearing', 'refunds', 'hold', 'tax', 'adjustments', 'conversion', 'bank'));

-- Rows are added, never changed: the newest one of a model counts. Sealed before it gets here.
CREATE TABLE payout_methods (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id   BIGINT UNSIGNED NOT NULL,
    kind       ENUM ('iban') NOT NULL DEFAULT 'iban',
    sealed     VARCHAR(2000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    hint       VARCHAR(12) CHARACTER SET ascii NOT NULL,
    changed_by BIGINT UNSIGNED NOT NULL,
    changed_at DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    INDEX (model_id, id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (changed_by) REFERENCES accounts (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE payout_batches (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    state       ENUM ('created', 'approved', 'sent', 'cancelled') NOT NULL DEFAULT 'created',
    currency    CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    minor_per_credit INT UNSIGNED NOT NULL, -- the rate that its amounts were made with
    created_by  BIGINT UNSIGNED NOT NULL,
    created_at  DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    approved_by BIGINT UNSIGNED NULL,
    approved_at DATETIME(6) NULL,
    sent_at     DATETIME(6) NULL,
    file_sha256 CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    FOREIGN KEY (created_by) REFERENCES accounts (id),
    FOREIGN KEY (approved_by) REFERENCES accounts (id),
    CHECK (approved_by IS NULL OR approved_by <> created_by),
    CHECK (state NOT IN ('approved', 'sent') OR approved_by IS NOT NULL),
    CHECK ((state = 'sent') = (file_sha256 IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE payouts (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    batch_id     BIGINT UNSIGNED NOT NULL,
    model_id     BIGINT UNSIGNED NOT NULL,
    method_id    BIGINT UNSIGNED NOT NULL,
    amount       BIGINT UNSIGNED NOT NULL, -- micro-credits
    money_minor  BIGINT UNSIGNED NOT NULL,
    currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state        ENUM ('batched', 'approved', 'on_hold', 'sent', 'settled', 'returned', 'cancelled')
                 NOT NULL DEFAULT 'batched',
    state_reason VARCHAR(200) NULL,
    -- The end-to-end reference that the bank gets.
    reference    VARCHAR(35) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    created_at   DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    updated_at   DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    UNIQUE (batch_id, model_id),
    INDEX (model_id, id),
    FOREIGN KEY (batch_id) REFERENCES payout_batches (id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (method_id) REFERENCES payout_methods (id),
    CHECK (amount > 0),
    CHECK (money_minor > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

CREATE TABLE statements (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id    BIGINT UNSIGNED NOT NULL,
    kind        ENUM ('month', 'payout') NOT NULL,
    reference   VARCHAR(35) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- "2026-11", or the payout's
    totals      MEDIUMTEXT NOT NULL, -- JSON, as it was hashed
    sha256      CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at  DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    UNIQUE (model_id, kind, reference),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;

INSERT INTO settings (name, version, value, reason) VALUES
    ('payouts.currency', 1, '"EUR"', 'what models are paid in'),
    ('payouts.minor_per_credit', 1, '10', 'minor units of money for a credit earned'),
    ('payouts.minimum', 1, '50000000', 'micro-credits below which nothing is paid'),
    ('payouts.reserve_bp', 1, '1000', 'part of earnings kept back after the hold period, in basis points'),
    ('payouts.reserve_days', 1, '30', 'days until the reserve is let go as well'),
    ('payouts.method_hold_hours', 1, '72', 'hours that a changed bank account rests');

-- The economy: items that are worn, rented and enhanced; rolls, counters, season passes, payments.

ALTER TABLE item
    ADD COLUMN equipped   BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN expires_ms BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN attempts   INT     NOT NULL DEFAULT 0;

-- Every attempt to enhance, once for ever: with the key of its day anyone recomputes the roll.
CREATE TABLE enhance_log (
    uid            BIGINT NOT NULL,
    attempt        INT    NOT NULL,
    user_id        BIGINT NOT NULL,
    version        BIGINT NOT NULL,
    day            INT    NOT NULL,
    odds_table     INT    NOT NULL,
    enhance_before INT    NOT NULL,
    enhance_after  INT    NOT NULL,
    chance_ppm     INT    NOT NULL,
    roll_ppm       INT    NOT NULL,
    PRIMARY KEY (uid, attempt),
    KEY of_day (day, odds_table, enhance_before),
    CONSTRAINT enhance_log_roll CHECK (roll_ppm BETWEEN 0 AND 999999),
    CONSTRAINT enhance_log_chance CHECK (chance_ppm BETWEEN 0 AND 1000000),
    CONSTRAINT enhance_log_step CHECK
        (enhance_after = enhance_before + (CASE WHEN roll_ppm < chance_ppm THEN 1 ELSE 0 END))
) ENGINE = InnoDB;

-- What is counted within a window, such as a player's purchases of a line today.
CREATE TABLE counter (
    user_id     BIGINT NOT NULL,
    kind        INT    NOT NULL,
    counter_key BIGINT NOT NULL,
    time_window BIGINT NOT NULL,
    count       BIGINT NOT NULL,
    PRIMARY KEY (user_id, kind, counter_key),
    CONSTRAINT counter_count CHECK (count >= 0)
) ENGINE = InnoDB;

CREATE TABLE pass_progress (
    user_id  BIGINT  NOT NULL,
    pass_id  INT     NOT NULL,
    level    INT     NOT NULL,
    exp      BIGINT  NOT NULL,
    paid     BOOLEAN NOT NULL,
    missions TEXT    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (user_id, pass_id),
    CONSTRAINT pass_progress_level CHECK (level >= 0),
    CONSTRAINT pass_progress_exp CHECK (exp >= 0)
) ENGINE = InnoDB;

-- Each reward of a pass once for ever. `line`: 0 free, 1 paid.
CREATE TABLE pass_claim (
    user_id    BIGINT  NOT NULL,
    pass_id    INT     NOT NULL,
    level      INT     NOT NULL,
    line       TINYINT NOT NULL,
    version    BIGINT  NOT NULL,
    claimed_ms BIGINT  NOT NULL,
    PRIMARY KEY (user_id, pass_id, level, line),
    CONSTRAINT pass_claim_progress FOREIGN KEY (user_id, pass_id)
        REFERENCES pass_progress (user_id, pass_id)
) ENGINE = InnoDB;

-- Payments and refunds of the payment service, each order number once for ever; `number` is the
-- source id of the grant that carries it.
CREATE TABLE payment_order (
    order_id   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    number     BIGINT      NOT NULL AUTO_INCREMENT,
    user_id    BIGINT      NOT NULL,
    amount     BIGINT      NOT NULL,
    refund_of  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_ms BIGINT      NOT NULL,
    PRIMARY KEY (order_id),
    UNIQUE KEY payment_order_number (number),
    KEY refunds (refund_of),
    CONSTRAINT payment_order_account FOREIGN KEY (user_id) REFERENCES account (user_id),
    CONSTRAINT payment_order_amount CHECK
        ((refund_of IS NULL AND amount > 0) OR (refund_of IS NOT NULL AND amount < 0))
) ENGINE = InnoDB;

-- The key of each day's rolls: its hash before the day, itself once nobody can roll with it.
CREATE TABLE roll_key (
    day          INT        NOT NULL,
    commitment   BINARY(32) NOT NULL,
    roll_key     BINARY(32) NULL,
    published_ms BIGINT     NOT NULL,
    revealed_ms  BIGINT     NULL,
    PRIMARY KEY (day)
) ENGINE = InnoDB;

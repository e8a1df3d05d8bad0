-- Accounts, the head row of each player, what he owns, and what happened.

CREATE TABLE account (
    user_id         BIGINT       NOT NULL AUTO_INCREMENT,
    name            VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    password_hash   VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    failures        INT          NOT NULL DEFAULT 0,
    locked_until_ms BIGINT       NOT NULL DEFAULT 0,
    created_ms      BIGINT       NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE KEY account_name (name)
) ENGINE = InnoDB;

-- One row a player: lock, version and fence at once, and the numbers that every commit may move.
CREATE TABLE player_head (
    user_id                BIGINT      NOT NULL,
    version                BIGINT      NOT NULL DEFAULT 0,
    session_epoch          BIGINT      NOT NULL DEFAULT 0,
    place_number           INT         NOT NULL DEFAULT 0,
    place_epoch            BIGINT      NOT NULL DEFAULT 0,
    reservation_number     INT         NOT NULL DEFAULT 0,
    reservation_jti        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    reservation_expires_ms BIGINT      NOT NULL DEFAULT 0,
    operation_floor_epoch  BIGINT      NOT NULL DEFAULT 0,
    level                  INT         NOT NULL DEFAULT 1,
    exp                    BIGINT      NOT NULL DEFAULT 0,
    gold                   BIGINT      NOT NULL DEFAULT 0,
    cash                   BIGINT      NOT NULL DEFAULT 0,
    mileage                BIGINT      NOT NULL DEFAULT 0,
    score_best             BIGINT      NOT NULL DEFAULT 0,
    login_ms               BIGINT      NOT NULL DEFAULT 0,
    last_login_ms          BIGINT      NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id),
    CONSTRAINT head_account FOREIGN KEY (user_id) REFERENCES account (user_id),
    CONSTRAINT head_level CHECK (level BETWEEN 1 AND 1000),
    CONSTRAINT head_exp CHECK (exp >= 0),
    CONSTRAINT head_gold CHECK (gold BETWEEN 0 AND 9007199254740991),
    CONSTRAINT head_cash CHECK (cash BETWEEN -9007199254740991 AND 9007199254740991),
    CONSTRAINT head_mileage CHECK (mileage BETWEEN 0 AND 9007199254740991)
) ENGINE = InnoDB;

-- Operation record and event log in one row: what was asked, what was answered, what changed. Versions of
-- a player are contiguous; operation ids are unique for ever.
CREATE TABLE event_log (
    user_id           BIGINT     NOT NULL,
    operation_epoch   BIGINT     NOT NULL,
    operation_counter BIGINT     NOT NULL,
    version           BIGINT     NOT NULL,
    kind              INT        NOT NULL,
    request_hash      BINARY(8)  NOT NULL,
    answer_opcode     INT        NOT NULL,
    answer            BLOB       NOT NULL,
    changes           MEDIUMBLOB NOT NULL,
    generation        BIGINT     NOT NULL,
    created_ms        BIGINT     NOT NULL,
    PRIMARY KEY (user_id, operation_epoch, operation_counter)
) ENGINE = InnoDB;

-- Double entry in one row: `amount` moved from `account` to the player; the sum over a player is his balance.
CREATE TABLE ledger (
    user_id  BIGINT  NOT NULL,
    version  BIGINT  NOT NULL,
    line     INT     NOT NULL,
    account  INT     NOT NULL,
    currency TINYINT NOT NULL,
    amount   BIGINT  NOT NULL,
    PRIMARY KEY (user_id, version, line),
    CONSTRAINT ledger_amount CHECK (amount <> 0)
) ENGINE = InnoDB;

CREATE TABLE item (
    user_id BIGINT  NOT NULL,
    uid     BIGINT  NOT NULL,
    kind    TINYINT NOT NULL,
    slot    INT     NOT NULL,
    code    INT     NOT NULL,
    count   BIGINT  NOT NULL,
    enhance INT     NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, uid),
    CONSTRAINT item_count CHECK (count > 0),
    CONSTRAINT item_slot CHECK (slot BETWEEN 0 AND 9999)
) ENGINE = InnoDB;

-- Births and deaths of items by count; the sum over a player and a code is what he holds.
CREATE TABLE item_ledger (
    user_id BIGINT  NOT NULL,
    version BIGINT  NOT NULL,
    line    INT     NOT NULL,
    uid     BIGINT  NOT NULL,
    code    INT     NOT NULL,
    kind    TINYINT NOT NULL,
    source  INT     NOT NULL,
    delta   BIGINT  NOT NULL,
    PRIMARY KEY (user_id, version, line),
    CONSTRAINT item_ledger_delta CHECK (delta <> 0)
) ENGINE = InnoDB;

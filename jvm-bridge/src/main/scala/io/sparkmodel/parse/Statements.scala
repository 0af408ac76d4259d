// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.parse

/** A statement about models, as written. */
sealed trait Statement

/**
 * CREATE MODEL, and REGISTER MODEL, its short form.
 *
 * @param inputs  columns as in INPUT (...): Spark's DDL, which Spark has parsed
 * @param output  the type of the predictions as DDL; several columns are a struct
 * @param using   the kind of source, in lower case
 * @param code    Python source between AS $$ and $$; only with USING python, and then without a location
 * @param options each is a String, a java.lang.Long, java.lang.Double or java.lang.Boolean; a key may have dots
 */
case class CreateModel(
    name: String,
    replace: Boolean,
    temporary: Boolean,
    ifNotExists: Boolean,
    inputs: Option[String],
    output: Option[String],
    comment: Option[String],
    using: Option[String],
    location: Option[String],
    code: Option[String],
    options: Seq[(String, Any)])
  extends Statement

case class AlterModel(name: String, action: AlterAction) extends Statement

sealed trait AlterAction

/** @param options how the pool goes there, such as the share of queries that a canary gets */
case class SetLocation(uri: String, options: Seq[(String, Any)]) extends AlterAction
case class SetOptions(options: Seq[(String, Any)]) extends AlterAction
case class UnsetOptions(keys: Seq[String]) extends AlterAction

/** @param least, most of the workers; the same for a fixed number */
case class ScaleTo(least: Int, most: Int) extends AlterAction
case object Refresh extends AlterAction
case object Promote extends AlterAction

/** @param to the version to go back to, or the one before */
case class Rollback(to: Option[Int]) extends AlterAction

case class DropModel(name: String, ifExists: Boolean, force: Boolean) extends Statement

/** SHOW MODELS; the pattern is one of SHOW TABLES. */
case class ShowModels(pattern: Option[String]) extends Statement

case class ShowCreateModel(name: String) extends Statement

/** SHOW MODEL VERSIONS: what a model served when. */
case class ShowModelVersions(name: String) extends Statement

case class DescribeModel(name: String, extended: Boolean) extends Statement

/** EXPLAIN of one of the others; the mode as Spark names it. */
case class ExplainModel(statement: Statement, mode: String) extends Statement

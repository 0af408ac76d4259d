// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.parser.ParseException
import org.apache.spark.sql.sparkmodel.SqlInternals
import org.apache.spark.sql.types.{DataType, StructType}

/** A model of Spark ML as a function. */
trait SparkMlModel {

  /** The columns that it needs, in the order of a call's arguments. */
  def inputs: StructType

  /** The type of one prediction. */
  def result: DataType

  /** A call with resolved arguments, one for each input. */
  def call(arguments: Seq[Expression]): Expression

  /** What the model is, for people. */
  def description: Map[String, String]
}

/**
 * Saved models of Spark ML as functions that run inside of Spark's JVMs, without a pool.
 *
 * {{{
 *   SparkMl.register(spark, "churn", "/models/churn", Map("output" -> "probability"))
 *   spark.sql("SELECT churn(plan, minutes) FROM customers")
 * }}}
 */
object SparkMl {
  private val Options = Seq("input", "output")

  /** The word of the output, and the columns if they were told. */
  private[sparkmodel] case class Settings(output: String, declared: Option[StructType])

  /**
   * Load a saved model.
   *
   * @param options `output`: `prediction` (default), `probability`, `raw`, or `all` for a struct of them;
   *                `input`: the columns with their types, such as `a DOUBLE, b STRING`, in the order of the arguments
   */
  def load(spark: SparkSession, name: String, path: String, options: Map[String, String]): SparkMlModel = {
    val Settings(output, declared) = settings(name, options)
    val saved = SavedModel.load(spark, name, path)
    val loaded = new LoadedModel(spark, name, path, saved, declared, output)
    if (!loaded.outputs.words.contains(output)) {
      val words = loaded.outputs.words
      val valid = if (words.isEmpty) "it makes no column of its own" else s"valid ones are ${words.mkString(", ")}"
      throw invalid(name, "output", s"a ${saved.model.getClass.getSimpleName} has no '$output'", valid)
    }
    loaded.check()
    loaded
  }

  /** What options say, if they are right whatever the model is. */
  private[sparkmodel] def settings(name: String, options: Map[String, String]): Settings = {
    val chosen = options.map { case (key, value) => key.toLowerCase -> value }
    chosen.keys.find(!Options.contains(_)).foreach { key =>
      throw invalid(name, key, "models of Spark ML have no such option", s"valid ones are ${Options.mkString(", ")}")
    }
    val output = chosen.getOrElse("output", Outputs.Prediction).toLowerCase
    if (!Outputs.Words.contains(output)) {
      throw invalid(name, "output", s"'$output' is no output", s"valid ones are ${Outputs.Words.mkString(", ")}")
    }
    val declared = chosen.get("input").map { text =>
      try StructType.fromDDL(text)
      catch {
        case _: ParseException =>
          throw invalid(name, "input", s"'$text' is no list of columns", "write it as in 'a DOUBLE, b STRING'")
      }
    }
    Settings(output, declared)
  }

  private def invalid(name: String, key: String, fact: String, hint: String) =
    new ModelException("INVALID_OPTION", s"Cannot load model '$name' with option '$key'", fact, hint)

  /** Load a saved model and make it a function of a session. */
  def register(spark: SparkSession, name: String, path: String, options: Map[String, String]): SparkMlModel = {
    val model = load(spark, name, path, options)
    SqlInternals.setFunction(spark, name, new SparkMlFunction(name, model))
    model
  }
}

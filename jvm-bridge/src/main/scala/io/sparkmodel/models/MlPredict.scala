// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import io.sparkmodel.call.{CallSettings, Durations, ModelAnalysisException}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.util.MapData
import org.apache.spark.sql.types._
import org.apache.spark.unsafe.types.UTF8String

/** `ml_predict('model', columns..., params => map(...), on_error => '...', timeout => '5s', version => 3)`. */
object MlPredict extends (Seq[Expression] => Expression) {
  val Name = "ml_predict"

  override def apply(arguments: Seq[Expression]): Expression = arguments match {
    case model +: rest =>
      val (options, columns) = rest.partition {
        case named: NamedArgumentExpression => CallSettings.Keys.contains(named.key.toLowerCase)
        case _ => false
      }
      val keys = options.collect { case option: NamedArgumentExpression => option.key.toLowerCase }
      keys.diff(keys.distinct).headOption.foreach(key => throw invalid(key, "it is given twice", "give it once"))
      val settings = options.foldLeft(CallSettings()) { case (known, option: NamedArgumentExpression) => read(known, option)
        case (known, _) => known }
      Targets.function(SparkSession.active, nameOf(model), settings)(columns)
    case _ => throw ModelAnalysisException(
      "SCHEMA_MISMATCH", "Cannot call 'ML_PREDICT'", "no model is named", "write ML_PREDICT('model', a, b)")
  }

  private def read(known: CallSettings, option: NamedArgumentExpression): CallSettings = option.key.toLowerCase match {
    case "params" => known.copy(params = params(option.value))
    case "on_error" => known.copy(onError = Some(text("on_error", option.value)))
    case "timeout" => known.copy(timeoutS = Some(Durations.seconds("timeout", value("timeout", option.value))))
    case "version" => known.copy(version = Some(version(value("version", option.value).toString)))
  }

  private def version(text: String): Int = text.stripPrefix("v").toIntOption.filter(_ > 0).getOrElse(
    throw invalid("version", s"'$text' is no version", "write a number"))

  private def params(expression: Expression): Map[String, Any] = (value("params", expression), expression.dataType) match {
    case (map: MapData, MapType(StringType, _, _)) => Params.plain(map, expression.dataType).asInstanceOf[Map[String, Any]]
    case (row: InternalRow, struct: StructType) => Params.plain(row, struct).asInstanceOf[Map[String, Any]]
    case _ => throw invalid("params", "it is neither a map from strings nor a struct", "write params => map('k', 3)")
  }

  private def value(key: String, expression: Expression): Any = {
    if (!expression.foldable)
      throw invalid(key, s"'${expression.sql}' is not a constant", "write a literal: it is read when the query is analysed")
    expression.eval() match {
      case null => throw invalid(key, "it is NULL", "leave it out")
      case text: UTF8String => text.toString
      case decimal: Decimal => decimal.toBigDecimal
      case other => other
    }
  }

  private def nameOf(model: Expression): String =
    if (model.foldable && model.eval() == null)
      throw ModelAnalysisException("MODEL_NOT_FOUND", "Cannot call 'ML_PREDICT'", "its model is NULL", "name one")
    else text("model", model)

  private def text(key: String, expression: Expression): String = value(key, expression) match {
    case text: String => text
    case other => throw invalid(key, s"$other is not a string", "quote it")
  }

  private[models] def invalid(key: String, fact: String, hint: String): ModelAnalysisException =
    ModelAnalysisException("INVALID_OPTION", s"Cannot use option '$key' of ML_PREDICT", fact, hint)
}

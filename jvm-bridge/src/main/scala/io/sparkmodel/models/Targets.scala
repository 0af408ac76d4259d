// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import io.sparkmodel.call.{CallSettings, ModelAnalysisException, ModelFunction}
import io.sparkmodel.sparkml.SparkMlFunction
import org.apache.spark.sql.{AnalysisException, SparkSession}
import org.apache.spark.sql.catalyst.analysis.{Star, UnresolvedAttribute}
import org.apache.spark.sql.catalyst.expressions.{Expression, NamedArgumentExpression}
import org.apache.spark.sql.sparkmodel.SqlInternals

/** Which model a name in a query means. */
object Targets {

  /**
   * Whether a call goes to a model that Spark would not find by itself.
   *
   * A model that is a function of the session already is left to Spark, unless the call has a star, which Spark would
   * hand on as columns without saying so.
   *
   * @param isKept whether the call is one that Spark keeps beyond the session, where it does not find the session's functions
   */
  def isModel(
      session: SparkSession, name: Seq[String], arguments: Seq[Expression], isKept: Boolean = false): Boolean = name match {
    case Seq(simple) => SqlInternals.function(session, simple) match {
        case Some(_: ModelFunction) => isKept || arguments.exists(_.isInstanceOf[Star])
        case Some(_: SparkMlFunction) => isKept || arguments.isEmpty || arguments.exists(_.isInstanceOf[Star])
        case Some(_) => false
        case None => LocalModels.find(simple).isDefined || Deployed.find(session, simple, isCertain = false).isDefined
      }
    case catalog +: _ => CatalogModels.isCatalog(session, catalog)
    case _ => false
  }

  /** The columns of a call without any, where they must be known before the call is resolved. */
  def columns(session: SparkSession, name: String): Seq[Expression] =
    parts(session, name) match {
      case Seq(simple) =>
        val found = SqlInternals.function(session, simple).orElse(LocalModels.find(simple))
        found.collect { case function: SparkMlFunction => function.model.inputs }.toSeq.flatten.map { field =>
          NamedArgumentExpression(field.name, UnresolvedAttribute(Seq(field.name)))
        }
      case _ => Nil
    }

  /** The function that a name means, for one call's settings. */
  def function(session: SparkSession, name: String, settings: CallSettings): Seq[Expression] => Expression =
    parts(session, name) match {
      case Seq(simple) => ofModel(session, simple, settings)
      case catalog +: rest if CatalogModels.isCatalog(session, catalog) =>
        CatalogModels.function(session, catalog, rest, settings)
      case parts => throw notFound(parts.mkString("."))
    }

  private def parts(session: SparkSession, name: String): Seq[String] =
    try SqlInternals.nameParts(session, name)
    catch { case _: AnalysisException => throw notFound(name) }

  private def ofModel(session: SparkSession, name: String, settings: CallSettings): Seq[Expression] => Expression =
    SqlInternals.function(session, name) match {
      case Some(function: ModelFunction) if settings.isEmpty => function
      case Some(function: ModelFunction) => Deployed.ofFunction(session, function, settings)
      case Some(function: LocalFunction) => function.withSettings(settings)
      case Some(function: SparkMlFunction) if settings.isEmpty => function
      case _ => LocalModels.find(name) match {
          case Some(local) => local.withSettings(settings)
          case None =>
            val target = Deployed.find(session, name, isCertain = true)
            target.getOrElse(throw notFound(name)).function(session, settings)
        }
    }

  private def notFound(name: String): ModelAnalysisException = ModelAnalysisException(
    "MODEL_NOT_FOUND", s"Cannot call model '$name'", "there is no such model",
    // one of that very name is another session's temporary model
    ModelAnalysisException.suggest(name, (Deployed.names ++ LocalModels.names).filterNot(_.equalsIgnoreCase(name))))
}

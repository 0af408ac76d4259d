// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import io.sparkmodel.call.{CallSettings, ModelAnalysisException}
import io.sparkmodel.catalog.MlflowCatalog
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.Expression

/**
 * Calls of models of a catalog: `mlflow.wine` is the latest version, `mlflow.wine.v3` that one, `mlflow.wine.champion` an
 * alias. MLflow allows no alias that reads like a version, nor `latest`, so each name means one thing.
 */
object CatalogModels {
  private val Version = "[vV](\\d+)".r

  def isCatalog(session: SparkSession, name: String): Boolean = MlflowCatalog.find(session, name).isDefined

  def function(
      session: SparkSession, catalog: String, name: Seq[String], settings: CallSettings): Seq[Expression] => Expression = {
    val registry = MlflowCatalog.find(session, catalog).get
    val (model, version, alias) = name match {
      case Seq(model) => (model, settings.version, None)
      case Seq(model, Version(number)) => (model, Some(number.toInt), None)
      case Seq(model, "latest") => (model, None, None)
      case Seq(model, alias) => (model, None, Some(alias))
      case _ => throw ModelAnalysisException(
          "MODEL_NOT_FOUND", s"Cannot call model '${(catalog +: name).mkString(".")}'", "the name has too many parts",
          s"write $catalog.model, $catalog.model.v3 or $catalog.model.alias")
    }
    if (settings.version.isDefined && name.size > 1) throw ModelAnalysisException(
      "INVALID_OPTION", "Cannot use option 'version' of ML_PREDICT", "the name has a version or an alias already",
      "leave one of them out")
    Deployed.ofCard(session, new Card(registry.card(model, version, alias)), settings.copy(version = None))
      .named((catalog +: name).mkString("."))
  }
}
